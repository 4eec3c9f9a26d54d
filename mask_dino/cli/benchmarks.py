"""What the benchmark tools share: configs by name, devices, sizes."""

import argparse
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import MMLogger

from ..benchmarks.step import keep_nothing
from ..compat import register_config_prefix
from ..messages import missing_file
from .common import UsageError, add_config_options, merge_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that the benchmarks share."""
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu, cuda, cuda:1'
    )
    parser.add_argument('--amp', choices=['bf16', 'fp16'], help='mixed precision; on a CPU, bf16')
    parser.add_argument(
        '--threads', type=int, help='threads of torch on the CPU (default: its own choice)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='JSON file for every single measurement, device, versions and commit',
    )
    add_config_options(parser, 'settings of all configs')


def prepare(args: argparse.Namespace) -> torch.device:
    """Apply the arguments to torch, and return the device.

    Raises:
        UsageError: The device is missing, or cannot compute in this precision.
    """
    keep_nothing()
    MMLogger.get_current_instance().setLevel('ERROR')  # building an optimiser logs many lines
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise UsageError(f'--device {args.device}: torch finds no GPU here; use --device cpu')
    if device.type == 'cpu' and args.amp == 'fp16':
        raise UsageError('--amp fp16: float16 needs a GPU; use --amp bf16 on the CPU')
    return device


def read_config(name: str, options: dict) -> Config:
    """Read a config from a file, or one that a framework brings: ``mmdet::mask2former/mask2former_r50_...py``.

    Raises:
        UsageError: There is no such config, or its options do not fit.
    """
    register_config_prefix()
    if '::' in name:
        config = get_config(name)
    elif Path(name).is_file():
        config = Config.fromfile(name)
    else:
        raise UsageError(missing_file('config', name))
    merge_options(config, options)
    return config


def size(text: str) -> tuple[int, int]:
    """Read height and width: ``512`` or ``800x1333``."""
    try:
        height, _, width = text.partition('x')
        return int(height), int(width or height)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text}: write a size as 512 or as HEIGHTxWIDTH, 800x1333'
        ) from None
