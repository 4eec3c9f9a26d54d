"""The arguments of training, applied to its config."""

from pathlib import Path

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from ..checkpoints import load_checkpoint_safely
from ..messages import is_url
from ..optim import BFloat16OptimWrapper
from .common import UsageError, check_checkpoint, on_cpu


def enable_amp(config: Config) -> None:
    """Train in mixed precision: float16 with loss scaling on a GPU, as in mmdet, and bfloat16 on the CPU.

    On a GPU, a config that asks for mixed precision keeps its own settings.
    """
    wrapper = config.get('optim_wrapper', {})
    kind = wrapper.get('type', 'OptimWrapper')
    kind = getattr(kind, '__name__', kind)
    if kind not in ('OptimWrapper', 'AmpOptimWrapper') or 'optimizer' not in wrapper:
        raise UsageError(f'--amp: needs an optim_wrapper of type OptimWrapper; the config has {kind}, change it there')
    if on_cpu():
        wrapper.type = BFloat16OptimWrapper.__name__
        for name in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(name, None)
    elif kind == 'OptimWrapper':
        wrapper.type = 'AmpOptimWrapper'
        wrapper.loss_scale = 'dynamic'


def enable_auto_scale_lr(config: Config) -> None:
    """Scale the learning rate by the batch size of this run over that of the config."""
    if 'base_batch_size' not in config.get('auto_scale_lr', {}):
        raise UsageError(
            '--auto-scale-lr: the config does not say for which batch size its learning rate is meant; '
            'add auto_scale_lr = dict(enable=False, base_batch_size=16), say'
        )
    config.auto_scale_lr.enable = True


def resume(config: Config, source: str) -> None:
    """Continue a training from a checkpoint, or, with `auto`, from the latest in the working directory, if any."""
    if source == 'auto':
        latest = find_latest_checkpoint(config.work_dir)
        if latest is None:
            print(f'--resume: {config.work_dir} has no checkpoint yet; training starts from the beginning')
            return
        moved = Path(config.work_dir) / Path(latest).name
        source = str(moved) if moved.is_file() else latest
        check_checkpoint(source, f'--resume: {config.work_dir}/last_checkpoint')
    check_checkpoint(source, '--resume')
    _check_training_state(source)
    config.resume, config.load_from = True, source


def _check_training_state(path: str) -> None:
    """Refuse weights alone here: mmengine would, after reading all data, miss a key."""
    if is_url(path):
        return
    if absent := {'meta', 'message_hub'} - load_checkpoint_safely(path).keys():
        raise UsageError(
            f'--resume: checkpoint {path} holds weights, but no state of a training ({", ".join(sorted(absent))}); '
            f'to start a new training from its weights, use --cfg-options load_from={path}'
        )
