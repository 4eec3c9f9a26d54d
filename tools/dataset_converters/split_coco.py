"""Split one COCO file into a file for training and a file for validation, by image."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from mask_dino.cli.help import make_parser
from mask_dino.datasets.split import COPY_NAMES, count_objects, read_splittable, split_content
from mask_dino.messages import DataError, format_table, missing_file


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/dataset_converters/split_coco.py data/unsplit/annotations/instances_default.json --val 0.2',
        "python tools/dataset_converters/split_coco.py data/video/annotations.json --group '(.+)_frame\\d+\\.jpg'",
    )
    parser.add_argument('file', type=Path, help='COCO file, instances or panoptic')
    parser.add_argument(
        '--val',
        type=float,
        default=0.2,
        metavar='FRACTION',
        help='fraction of the images for validation (default: %(default)s)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='another seed gives another split (default: %(default)s)',
    )
    parser.add_argument(
        '--group',
        type=grouping,
        default=COPY_NAMES,
        metavar='REGEX',
        help='images whose file names have the same first group stay together, for example the frames of a video: '
        r"'(.+)_\d+\.jpg' (default: augmented copies of one image stay together)",
    )
    parser.add_argument(
        '--out-dir', type=Path, help='folder of the two files (default: the folder of FILE)'
    )
    return parser


def grouping(text: str) -> str:
    """Return a regular expression with a group."""
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise argparse.ArgumentTypeError(f'{text} is no regular expression: {error}') from None
    if not groups:
        raise argparse.ArgumentTypeError(f'{text}: put what the names share in parentheses')
    return text


def main() -> None:
    """Split a file, and print how many objects of each class are in each part."""
    parser = build_parser()
    args = parser.parse_args()
    if not args.file.is_file():
        parser.error(missing_file('file', args.file))
    if not 0 < args.val < 1:
        parser.error(f'--val {args.val}: write a fraction between 0 and 1, such as 0.2')
    try:
        parts = split_content(read_splittable(str(args.file)), args.val, args.seed, args.group)
    except DataError as error:
        sys.exit(f'error: {error}')
    folder = args.out_dir or args.file.parent
    folder.mkdir(parents=True, exist_ok=True)
    stem = args.file.name.split('.')[0] or 'annotations'
    for name, part in zip(('train', 'val'), parts, strict=True):
        path = folder / f'{stem.lstrip("_")}_{name}.json'
        path.write_text(json.dumps(part))
        print(f'{path}: {len(part["images"])} images')
    print_classes(*parts)


def print_classes(train: dict[str, Any], val: dict[str, Any]) -> None:
    """Print the number of objects of every class in both parts."""
    in_train, in_val = count_objects(train), count_objects(val)
    rows = [[name, str(in_train[name]), str(in_val[name])] for name in in_train]
    print(format_table(['class', 'objects in train', 'objects in val'], rows))
    if absent := [name for name in in_val if in_train[name] and not in_val[name]]:
        print(
            f'warning: no object of {", ".join(absent)} in validation, because too few images have one'
        )


if __name__ == '__main__':
    main()
