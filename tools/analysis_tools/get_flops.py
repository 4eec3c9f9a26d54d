"""Count the operations and the parameters of the model in a config of mmdet or mmseg, for one image."""

import argparse
from pathlib import Path

from mmengine.analysis import get_model_complexity_info
from mmengine.config import DictAction
from mmengine.model import revert_sync_batchnorm

from mask_dino.checkpoints.io import build_model
from mask_dino.cli import benchmarks
from mask_dino.cli.common import UsageError


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, or a config of mmdet: mmdet::FOLDER/NAME.py')
    parser.add_argument(
        '--size',
        type=benchmarks.size,
        default=(512, 512),
        help='512 or 800x1333, a multiple of 32 (default: 512)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='settings to override',
    )
    return parser


def main() -> None:
    """Count and print one line."""
    parser = arguments()
    args = parser.parse_args()
    try:
        config = benchmarks.read_config(args.config, args.cfg_options)
    except UsageError as error:
        parser.error(str(error))
    model = revert_sync_batchnorm(build_model(config)).eval()
    found = get_model_complexity_info(model, (3, *args.size), show_table=False, show_arch=False)
    print(
        f'{Path(args.config).stem} at {args.size[0]} x {args.size[1]}: {found["flops"] / 1e9:.1f} GFLOPs, '
        f'{found["params"] / 1e6:.1f} M parameters'
    )


if __name__ == '__main__':
    main()
