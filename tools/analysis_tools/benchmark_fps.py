"""Measure images per second of a model of mmdet or mmseg, one image at a time, with and without post-processing.

The images are generated (800 x 1333 pixels), or they are the test data of the config, as for the figures of the paper.
The time to load them is not counted.
"""

import argparse
from pathlib import Path

from mmengine.runner import load_checkpoint

from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.measure import generate_batches, load_batches, measure_fps, save
from mask_dino.checkpoints import register_loaders
from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError, check_checkpoint, run_tool
from mask_dino.cli.help import make_parser, natural, positive, size
from mask_dino.messages import format_table


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/analysis_tools/benchmark_fps.py configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco.py --images 5',
    )
    parser.add_argument('config', help='config file, or a config of mmdet: mmdet::FOLDER/NAME.py')
    parser.add_argument(
        'checkpoint', nargs='?', help='weights (default: random weights; the speed hardly changes)'
    )
    parser.add_argument(
        '--data', action='store_true', help="use the config's test data instead of generated images"
    )
    parser.add_argument(
        '--size',
        type=size,
        default=(800, 1333),
        help='size of generated images (default: 800x1333)',
    )
    parser.add_argument(
        '--images',
        type=positive,
        help='number of images (default: 50 generated ones, or all test data)',
    )
    parser.add_argument(
        '--warmup',
        type=natural,
        default=2,
        help='images before the measured ones (default: 2)',
    )
    benchmarks.add_arguments(parser)
    return parser


def main() -> None:
    """Measure and print the table."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        device = benchmarks.prepare_torch(args)
        config = benchmarks.read_config(args.config, args.cfg_options)
        if args.checkpoint:
            check_checkpoint(args.checkpoint, 'CHECKPOINT')
        subject = benchmarks.build_subject(args.config, config, device, args.amp)
    except UsageError as error:
        parser.error(str(error))
    if args.checkpoint:
        register_loaders()
        load_checkpoint(subject.model, args.checkpoint, map_location='cpu')
    batches = (
        load_batches(config)
        if args.data
        else generate_batches(subject, Load(*args.size, objects=1, batch=1))
    )
    images = args.images or (None if args.data else 50)
    measured = measure_fps(subject, batches, images, args.warmup)
    header = ['model', 'images', 'images/s', 'without post-processing', 'median seconds']
    figures = [
        f'{measured[name]:.3f}' for name in ('fps', 'fps_without_postprocessing', 'median_seconds')
    ]
    name = Path(args.config).stem
    print(format_table(header, [[name, str(measured['images']), *figures]]))
    if args.out:
        save(args.out, device, [dict(model=name) | measured])


if __name__ == '__main__':
    run_tool(main)
