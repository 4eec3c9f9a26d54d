"""The arguments of training, applied to its config."""

import os
from pathlib import Path

from mmengine.config import Config

from ..checkpoints import load_checkpoint_safely
from ..checkpoints.training_state import IncompleteError, check_training_state
from ..hooks.checkpoint_files import (
    checkpoint_folder,
    find_newest_checkpoint,
)
from ..messages import is_url
from ..optim import BFloat16OptimWrapper
from .common import UsageError, check_checkpoint, on_cpu


def enable_amp(config: Config) -> None:
    """Train in mixed precision: float16 with loss scaling on a GPU, as in mmdet, and bfloat16 on the CPU.

    On a GPU, a config that asks for mixed precision keeps its own settings.

    Raises:
        UsageError: The config has an ``optim_wrapper`` of another type.
    """
    wrapper = config.get('optim_wrapper', {})
    kind = wrapper.get('type', 'OptimWrapper')
    kind = getattr(kind, '__name__', kind)
    if kind not in ('OptimWrapper', 'AmpOptimWrapper') or 'optimizer' not in wrapper:
        raise UsageError(
            f'--amp: needs an optim_wrapper of type OptimWrapper; the config has {kind}, change it there'
        )
    if on_cpu():
        wrapper.type = BFloat16OptimWrapper.__name__
        for name in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(name, None)
    elif kind == 'OptimWrapper':
        wrapper.type = 'AmpOptimWrapper'
        wrapper.loss_scale = 'dynamic'


def enable_auto_scale_lr(config: Config) -> None:
    """Multiply the learning rate by the batch size of this run, and divide it by the batch size of the config.

    Raises:
        UsageError: The config has no ``base_batch_size``.
    """
    if 'base_batch_size' not in config.get('auto_scale_lr', {}):
        raise UsageError(
            '--auto-scale-lr: the config does not say for which batch size its learning rate is meant; '
            'add it, for example auto_scale_lr = dict(enable=False, base_batch_size=16)'
        )
    config.auto_scale_lr.enable = True


def resume_training(config: Config, source: str) -> None:
    """Continue a training from a checkpoint; with `auto`, from the newest readable one of the directory, if any.

    Raises:
        UsageError: The checkpoint does not exist, or holds only weights.
        CheckpointError: The checkpoint cannot be read.
    """
    if source == 'auto':
        newest = _find_newest(config)
        if newest is None:
            return
        source = str(newest)
    else:
        check_checkpoint(source, '--resume')
        _check_training_state(source)
    config.resume, config.load_from = True, source


def resumes_by_config(config: Config) -> bool:
    """Return whether a config itself asks to resume from the newest checkpoint."""
    return bool(config.get('resume') and not config.get('load_from'))


def _find_newest(config: Config) -> Path | None:
    """Find the checkpoint to resume from, and print which one it is and which files were skipped."""
    folder = checkpoint_folder(config)
    newest, skipped = find_newest_checkpoint(folder)
    messages = [f'--resume: skipped {file}' for file in skipped]
    if newest is None:
        messages.append(
            f'--resume: {folder} has no checkpoint yet; training starts from the beginning'
        )
    else:
        messages.append(f'--resume: {newest} is the newest checkpoint')
    if os.environ.get('RANK', '0') == '0':
        print('\n'.join(messages), flush=True)
    return newest


def _check_training_state(path: str) -> None:
    """Refuse a file with only weights: mmengine would report a missing key, but only after it has read all data."""
    if is_url(path):
        return
    try:
        check_training_state(load_checkpoint_safely(path), path)
    except IncompleteError as error:
        remedy = 'to start a new training from its weights, use --cfg-options load_from='
        raise UsageError(f'--resume: {error}; {remedy}{path}') from error
