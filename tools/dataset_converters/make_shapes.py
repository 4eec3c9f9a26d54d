"""Make the Shapes data set: a small synthetic world in COCO format."""

import argparse
import time
from pathlib import Path

from mask_dino.cli.help import make_parser
from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes


def parse_args() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Read the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/dataset_converters/make_shapes.py data/shapes',
        'python tools/dataset_converters/make_shapes.py data/mine --train 200 --val 40 --seed 7',
        exit_codes='0: done, or up to date; 2: wrong arguments, or the folder cannot be written',
    )
    parser.add_argument('folder', type=Path, help='folder to write, for example data/shapes')
    parser.add_argument(
        '--train', type=int, default=World.train, help='training images (default: %(default)s)'
    )
    parser.add_argument(
        '--val', type=int, default=World.val, help='validation images (default: %(default)s)'
    )
    parser.add_argument(
        '--size',
        type=int,
        default=World.size,
        help='width = height in pixels (default: %(default)s)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=World.seed,
        help='seed of the random numbers (default: %(default)s)',
    )
    parser.add_argument(
        '--max-objects',
        type=int,
        default=World.max_objects,
        help='maximum number of things in an image (default: %(default)s)',
    )
    return parser, parser.parse_args()


def main() -> None:
    """Write the data set."""
    parser, args = parse_args()
    start = time.perf_counter()
    try:
        world = World(args.train, args.val, args.size, args.seed, args.max_objects)
        made = write_shapes(world, args.folder)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        # The message of the operating system names a temporary folder.
        parser.error(f'{args.folder}: cannot be written: {error}' if error.errno else str(error))
    if made:
        seconds = time.perf_counter() - start
        print(
            f'{args.folder}: wrote {world.train} training and {world.val} validation images in {seconds:.1f} s'
        )
    else:
        print(f'{args.folder}: up to date')


if __name__ == '__main__':
    main()
