"""Count the operations and the parameters of the model in a config of mmdet or mmseg, for one image."""

import argparse
import warnings
from pathlib import Path

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm

from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError, add_config_options, run_tool
from mask_dino.cli.help import make_parser, size


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/analysis_tools/get_flops.py configs/maskdino/maskdino_tiny_shapes-panoptic.py --size 128',
    )
    parser.add_argument('config', help='config file, or a config of mmdet: mmdet::FOLDER/NAME.py')
    parser.add_argument(
        '--size',
        type=size,
        default=(512, 512),
        help='size of the image, such as 512 or 800x1333; multiples of 32 (default: 512)',
    )
    add_config_options(parser)
    return parser


def main() -> None:
    """Count and print one line."""
    parser = build_parser()
    args = parser.parse_args()
    try:
        config = benchmarks.read_config(args.config, args.cfg_options)
        MMLogger.get_current_instance().setLevel('ERROR')
        warnings.simplefilter('ignore')  # of the frameworks, while they build the model
        built = benchmarks.build_network(args.config, config)
    except UsageError as error:
        parser.error(str(error))
    model = revert_sync_batchnorm(built).eval()
    operations = count_operations(model, args.size)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f'{Path(args.config).stem} at {args.size[0]} x {args.size[1]}: {operations / 1e9:.1f} GFLOPs, '
        f'{parameters / 1e6:.1f} M parameters'
    )


def count_operations(model: torch.nn.Module, size: tuple[int, int]) -> int:
    """Count the multiplications of one image; operations on single elements do not count, as is usual."""
    analyzer = FlopAnalyzer(model, (torch.randn(1, 3, *size),))
    analyzer.unsupported_ops_warnings(False)
    analyzer.uncalled_modules_warnings(False)
    analyzer.tracer_warnings('none')
    return round(analyzer.total())


if __name__ == '__main__':
    run_tool(main)
