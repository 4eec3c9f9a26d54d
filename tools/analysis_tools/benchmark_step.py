"""Time the parts of training and inference steps of any configs of mmdet or mmseg, side by side, and their memory.

Images and objects are generated. First the memory of every case is measured. Then every case is timed once per round,
so that other load on the machine affects all cases equally. The table shows medians; for the whole step it also shows
half the distance between the quartiles.
"""

import argparse
from itertools import product
from pathlib import Path

import torch

from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.measure import Case, measure, save, step_tables
from mask_dino.benchmarks.step import TEST, TRAIN, Subject
from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError, run_tool
from mask_dino.cli.help import make_parser, natural, positive, size


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/analysis_tools/benchmark_step.py '
        'configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco.py '
        'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    )
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='config file, or a config of mmdet: mmdet::FOLDER/NAME.py',
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=size,
        default=[(512, 512)],
        help='sizes of the images, such as 512 or 800x1333 (default: 512)',
    )
    parser.add_argument(
        '--objects',
        nargs='+',
        type=natural,
        default=[10],
        help='numbers of objects of an image (default: 10)',
    )
    parser.add_argument('--batch', type=positive, default=1, help='images of a batch (default: 1)')
    parser.add_argument(
        '--modes',
        nargs='+',
        choices=[TRAIN, TEST],
        default=[TRAIN, TEST],
        help='steps to measure (default: both)',
    )
    parser.add_argument(
        '--rounds', type=positive, default=5, help='how often each is timed (default: 5)'
    )
    benchmarks.add_arguments(parser)
    return parser


def build_subjects(args: argparse.Namespace, device: torch.device) -> dict[str, Subject]:
    """Return the models by the names of their configs.

    Raises:
        UsageError: A config cannot be used, or two have one name.
    """
    subjects: dict[str, Subject] = {}
    for path in args.configs:
        name = Path(path).stem
        if name in subjects:
            raise UsageError(f'two configs are named {name}; their figures could not be told apart')
        config = benchmarks.read_config(path, args.cfg_options)
        subjects[name] = benchmarks.build_subject(path, config, device, args.amp)
    return subjects


def main() -> None:
    """Measure and print the tables."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        device = benchmarks.prepare_torch(args)
        subjects = build_subjects(args, device)
    except UsageError as error:
        parser.error(str(error))
    loads = [
        Load(*size, objects, args.batch) for size, objects in product(args.sizes, args.objects)
    ]
    cases = [Case(name, mode, load) for mode, load, name in product(args.modes, loads, subjects)]
    records = [timed.record() for timed in measure(subjects, cases, args.rounds)]
    print('\n\n'.join(step_tables(records)))
    if args.out:
        save(args.out, device, records)


if __name__ == '__main__':
    run_tool(main)
