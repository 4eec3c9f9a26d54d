"""What training and testing share: arguments, the config, processes, the runner."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checkpoints import CheckpointError, register_loaders
from ..compat import register_config_prefix, resolve_config
from ..datasets.checks.config import check_resumable, config_problems
from ..datasets.checks.training import check_training
from ..hooks.checkpoint_files import DISK_ERRORS, StorageError, storage_error
from ..hooks.losses import LossError
from ..image_size import find_unused_image_size, set_image_size
from ..messages import DataError, error_messages, is_url, missing_file
from .runner import ResumableRunner, end_with_parent

PROCESS_TIMEOUT = 1800
"""Seconds after which the processes end if one of them does not answer; ``env_cfg.dist_cfg.timeout`` sets it."""


LOST_PROCESS = ('Timed out waiting', 'Connection closed by peer', 'Connection reset by peer')
"""What gloo says where another process has ended, or has not answered within the timeout."""


class UsageError(ValueError):
    """The arguments of a tool do not fit its config or the machine: the message names the remedy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that training and testing share."""
    parser.add_argument(
        '--work-dir',
        help='directory of logs and checkpoints (default: work_dirs/NAME OF THE CONFIG)',
    )
    add_config_options(
        parser,
        'settings to override in the config; a list is key="[a,b]" or key=a,b, a nested one key="[(a,b),(c,d)]", '
        'quoted and without spaces',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes; dist_*.sh and slurm_*.sh set it. Without a GPU, pytorch works over gloo '
        '(default: none)',
    )
    # torch.distributed.launch passes one or the other.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


class SettingsAction(DictAction):
    """Reads ``KEY=VALUE``, and says so where something else is given."""

    def __call__(self, parser: argparse.ArgumentParser, *others: Any) -> None:
        """Store the settings."""
        _, texts, option = others
        wrong = [text for text in texts if '=' not in text]
        if wrong:
            parser.error(f'argument {option}: {wrong[0]}: write KEY=VALUE')
        super().__call__(parser, *others)


def add_config_options(
    parser: argparse.ArgumentParser, description: str = 'settings to override'
) -> None:
    """Declare ``--cfg-options``, which gives a dict of settings by their dotted names."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=SettingsAction,
        default={},
        metavar='KEY=VALUE',
        help=description,
    )


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the shared arguments to it.

    Raises:
        UsageError: There is no such config, or ``image_size`` is not a size or has no effect.
    """
    register_config_prefix()
    try:
        args.config = resolve_config(args.config)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    if not Path(args.config).expanduser().is_file():
        raise UsageError(missing_file('config', args.config))
    config = Config.fromfile(args.config)
    merge_options(config, args.cfg_options)
    config.work_dir = (
        args.work_dir or config.get('work_dir') or f'./work_dirs/{Path(args.config).stem}'
    )
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    register_loaders()  # again, because imports of the config can have replaced the loaders
    config.launcher = args.launcher
    return config


def merge_options(config: Config, options: dict) -> None:
    """Override settings of a config; a new ``image_size`` reaches all its pipelines.

    Raises:
        UsageError: If ``image_size`` is not a size, or the config sets it without effect.
    """
    others = dict(options)
    try:
        if 'image_size' in config and 'image_size' in others:
            set_image_size(config, others.pop('image_size'))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f'--cfg-options image_size={options["image_size"]}: write WIDTH,HEIGHT in pixels'
        ) from error
    config.merge_from_dict(others)
    if message := find_unused_image_size(config):
        raise UsageError(message)


def check_checkpoint(path: str, setting: str) -> None:
    """Refuse a checkpoint that is not on the disk, before any data are read.

    Args:
        setting: The option that names the checkpoint, for the message.

    Raises:
        UsageError: There is no such file.
    """
    if not is_url(path) and not Path(path).expanduser().is_file():
        raise UsageError(f'{setting}: {missing_file("checkpoint", path)}')


def on_cpu() -> bool:
    """Tell whether mmengine finds no accelerator."""
    return get_device() == 'cpu'


def build_runner(config: Config, *loaders: str) -> Runner:
    """Join the other processes, if there are any, and build the runner.

    Args:
        loaders: Names of the data loaders that will be used.

    Raises:
        DataError: The data sets, samplers or loops of the config cannot work.
        StorageError: The working directory cannot be written.
        UsageError: The processes were not started by the launcher.
    """
    problems = config_problems(config, loaders)
    if 'train_dataloader' in loaders:
        problems += error_messages([*check_training(config), *check_resumable(config)])
    if problems:
        raise DataError(*problems)
    prepare_work_dir(Path(config.work_dir))
    if config.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise UsageError(
            '--launcher pytorch: no launcher started this process; start tools/dist_train.sh or tools/dist_test.sh'
        )
    if config.launcher != 'none':
        end_with_parent()  # a launcher that is killed leaves no process behind
    if config.launcher != 'none' and on_cpu():
        _join_on_cpu(config)
    return RUNNERS.build(config) if 'runner_type' in config else ResumableRunner.from_cfg(config)


def prepare_work_dir(work_dir: Path) -> None:
    """Make the working directory, and write to it before any data are read.

    Raises:
        StorageError: The directory cannot be made or written.
    """
    probe = work_dir / f'.write_test_{os.getpid()}'
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(4096))
    except OSError as error:
        raise storage_error(work_dir, OSError(error.errno, error.strerror)) from error
    finally:
        with suppress(OSError):
            probe.unlink()


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool, and leave its process group; on an error that a user can put right, one line and exit code 1."""
    # On a full disk, the log file would fill the screen with tracebacks.
    logging.raiseExceptions = False
    try:
        main()
        leave_process_group()
    except (CheckpointError, DataError, LossError, StorageError) as error:
        sys.exit(f'error: {error}')
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        sys.exit(f'error: {storage_error("a file of the working directory", error)}')
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        sys.exit(
            f'error: another process of this run has ended or no longer answers ({error}). Its last lines in the log '
            'name the cause. Start the run again, a training with --resume'
        )


def is_lost_process(error: RuntimeError) -> bool:
    """Tell whether gloo reports that another process has ended, or has not answered in time."""
    return torch.distributed.is_initialized() and any(word in str(error) for word in LOST_PROCESS)


def leave_process_group() -> None:
    """Wait for the other processes, if there are any, and end the threads of their group.

    Without this, a process can abort after its work is done, because a thread still holds tensors while Python ends
    (github.com/pytorch/pytorch/pull/179291). The threads end when nothing holds the group: call it after the runner is
    out of use. Do not call it after an error: the others may wait for something else.
    """
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        gc.collect()  # the runner, whose parts refer to each other, and with it the wrapped model
        torch.distributed.destroy_process_group()


def _join_on_cpu(config: Config) -> None:
    """Join the other processes without a GPU; mmengine's own function needs a GPU."""
    if config.launcher != 'pytorch':
        raise UsageError(
            f'--launcher {config.launcher}: there is no GPU; start tools/dist_train.sh or tools/dist_test.sh'
        )
    settings = config.get('env_cfg', {}).get('dist_cfg', {})
    timeout = timedelta(seconds=settings.get('timeout', PROCESS_TIMEOUT))
    torch.distributed.init_process_group('gloo', timeout=timeout)
    config.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    if 'model_wrapper_cfg' not in config:
        unused = config.get('find_unused_parameters', False)
        config.model_wrapper_cfg = {'broadcast_buffers': False, 'find_unused_parameters': unused}
    config.model_wrapper_cfg.device_ids = None
