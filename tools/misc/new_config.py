"""Write the config of your own data: classes, sizes and files are read from the data folder."""

import argparse
import os
import re
import sys
from pathlib import Path

from mask_dino.checkpoints import CheckpointError
from mask_dino.cli.help import make_parser
from mask_dino.messages import DataError, missing_file
from mask_dino.new_config.write import Request, make_config

COMMANDS = """What to run next:
  python tools/misc/check_dataset.py {config}    # what is wrong with the data
  python tools/train.py {config}
  python tools/test.py {config} {work_dir}/BEST.pth --show-dir drawn    # BEST.pth: the newest best_*.pth there"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/misc/new_config.py --data data/mine --task instance --from work_dirs/demo/weights.pth',
    )
    parser.add_argument(
        '--data',
        type=Path,
        required=True,
        metavar='FOLDER',
        help='folder of images and annotations',
    )
    parser.add_argument(
        '--task',
        choices=['instance', 'panoptic', 'semantic'],
        default='instance',
        help='what the model makes (default: instance)',
    )
    parser.add_argument(
        '--from',
        dest='checkpoint',
        type=Path,
        metavar='CHECKPOINT',
        help='checkpoint to start from; it also decides which network is used (default: none; then --base is needed)',
    )
    parser.add_argument(
        '--base',
        type=Path,
        metavar='CONFIG',
        help='config to inherit from, which decides about the network (default: the one that fits the checkpoint)',
    )
    parser.add_argument(
        '--classes',
        type=lambda text: tuple(text.split(',')),
        default=(),
        metavar='A,B,...',
        help='names of the labels 0, 1, ... of label maps (default: classes.txt in FOLDER)',
    )
    parser.add_argument(
        '--out', type=Path, metavar='FILE', help='config to write (default: my_configs/FOLDER.py)'
    )
    parser.add_argument('--force', action='store_true', help='replace a config that exists')
    return parser


def main() -> None:
    """Write a config, and say what to run next."""
    parser = build_parser()
    args = parser.parse_args()
    name = re.sub(r'\W+', '_', args.data.resolve().name)
    out = args.out or Path('my_configs') / f'{name}.py'
    if out.exists() and not args.force:
        parser.error(f'{out} exists; --force replaces it, --out FILE writes another')
    if args.base and not args.base.is_file():
        parser.error(missing_file('config', args.base))
    request = Request(args.data, args.task, args.checkpoint, args.base, out, args.classes)
    try:
        made = make_config(request)
    except (CheckpointError, DataError) as error:
        sys.exit(f'error: {error}')
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(made.text, encoding='utf-8')
    print('\n'.join([f'{out}: written, on top of {os.path.relpath(made.base)}', *made.notes]))
    print(COMMANDS.format(config=out, work_dir=f'work_dirs/{out.stem}'))


if __name__ == '__main__':
    main()
