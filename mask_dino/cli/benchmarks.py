"""What the benchmark tools share: configs by name, models and devices."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from torch import nn

from ..benchmarks.step import Subject, keep_nothing
from ..checkpoints.io import build_model
from ..compat import register_config_prefix
from ..messages import missing_file
from .common import UsageError, add_config_options, merge_options
from .help import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that the benchmarks share."""
    add_device(parser)
    parser.add_argument(
        '--amp', choices=['bf16', 'fp16'], help='mixed precision; on a CPU, bf16 (default: float32)'
    )
    parser.add_argument(
        '--threads', type=positive, help='threads of torch on the CPU (default: its own choice)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='JSON file for every single measurement, device, versions and commit (default: none)',
    )
    add_config_options(parser, 'settings of all configs')


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declare ``--device``; see :func:`find_device`."""
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='cpu, cuda, cuda:1 (default: %(default)s)',
    )


def prepare_torch(args: argparse.Namespace) -> torch.device:
    """Apply the arguments to torch, and return the device.

    Raises:
        UsageError: The device is missing or cannot compute in this precision, or ``--out`` cannot be written.
    """
    if args.out:
        check_out(args.out)
    keep_nothing()
    MMLogger.get_current_instance().setLevel('ERROR')  # building an optimiser logs many lines
    if args.threads:
        torch.set_num_threads(args.threads)
    device = find_device(args.device)
    if device.type == 'cpu' and args.amp == 'fp16':
        raise UsageError('--amp fp16: float16 needs a GPU; use --amp bf16 on the CPU')
    return device


def find_device(name: str) -> torch.device:
    """Return the device of a name: cpu, cuda, cuda:1.

    Raises:
        UsageError: torch knows no such device, or there is no GPU.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f'--device {name}: use cpu, cuda or cuda:1') from error
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f'--device {name}: torch finds no GPU here; use --device cpu')
    return device


def check_out(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is measured."""
    if path.is_dir():
        raise UsageError(f'--out {path}: this is a folder; name a file')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'--out {path}: {error}') from error


def read_config(name: str, options: dict) -> Config:
    """Read a config from a file, or one that a framework brings: ``mmdet::mask2former/mask2former_r50_...py``.

    Raises:
        UsageError: There is no such config, the file is no config, or its options do not fit.
    """
    register_config_prefix()
    if '::' not in name and not Path(name).is_file():
        raise UsageError(missing_file('config', name))
    try:
        config = get_config(name) if '::' in name else Config.fromfile(name)
        merge_options(config, options)
    except UsageError:
        raise
    except Exception as error:  # a config is a program, which can raise anything
        raise UsageError(f'{name} cannot be read: {_describe(error)}') from error
    return config


def build_subject(name: str, config: Config, device: torch.device, amp: str | None) -> Subject:
    """Return the model of a config and its optimiser; see :class:`Subject`.

    Raises:
        UsageError: The parts of the config do not exist or do not fit together.
    """
    with naming_config(name):
        return Subject(config, device, amp)


def build_network(name: str, config: Config) -> nn.Module:
    """Return the model of a config; see :func:`build_subject`."""
    with naming_config(name):
        return build_model(config)


@contextmanager
def naming_config(name: str) -> Iterator[None]:
    """Name the config in the errors of building its model.

    Raises:
        UsageError: The parts of the config do not exist or do not fit together.
    """
    try:
        yield
    except (AttributeError, ImportError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ValueError) and type(error) is not ValueError:
            raise  # an error of this project, whose message is complete
        raise UsageError(f'the model of {name} cannot be built: {_describe(error)}') from error


def _describe(error: Exception) -> str:
    """Return an error in one line."""
    return f'{type(error).__name__}: {" ".join(str(error).split())}'
