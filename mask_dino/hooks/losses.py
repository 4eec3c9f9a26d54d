"""Hooks for losses and figures: they end a training in time, print its progress, and save its history."""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import EarlyStoppingHook, Hook, LoggerHook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ..messages import first_few, plural

WARNING_INTERVAL = 50
"""Steps between two warnings."""
DIVERGENCE_REMEDIES = (
    'lower the learning rate (optim_wrapper.optimizer.lr), warm it up for longer (param_scheduler), clip gradients '
    '(optim_wrapper.clip_grad), or train in float32 (without --amp); then --resume from a checkpoint before this step'
)


class LossError(RuntimeError):
    """The losses of a training are NaN or infinite: the message names them and the remedies."""


@HOOKS.register_module()
class CheckLossHook(Hook):
    """Warns of losses that are NaN or infinite, and ends the training if they stay so.

    It reads the values that mmengine logs at every step, and so waits for no device.

    Args:
        max_steps: Number of such steps in a row that ends the training.
    """

    # After RuntimeInfoHook, which reads the losses, and before CheckpointHook, which would save the weights.
    priority = 'NORMAL'

    def __init__(self, max_steps: int = 10) -> None:
        self.max_steps = max_steps
        self.num_steps = 0
        self.last_warning = -WARNING_INTERVAL

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        """Look at the losses of a step.

        Raises:
            LossError: The total loss was NaN or infinite in too many steps in a row.
        """
        broken = find_broken_losses(runner, outputs or {})
        self.num_steps = self.num_steps + 1 if broken else 0
        if not broken:
            return
        step = runner.iter + 1
        message = f'step {step}: NaN or infinite values in {first_few(broken)}'
        if self.num_steps >= self.max_steps:
            raise LossError(
                f'{message}, for {plural(self.num_steps, "step")} in a row. Remedies: {DIVERGENCE_REMEDIES}'
            )
        if step - self.last_warning >= WARNING_INTERVAL:
            self.last_warning = step
            runner.logger.warning(
                f'{message}. If that lasts for {plural(self.max_steps, "step")}, the training ends'
            )


def find_broken_losses(runner: Runner, outputs: dict) -> list[str]:
    """Return the names of the losses that are NaN or infinite at this step."""
    logged = runner.message_hub.log_scalars
    names = [name for name in outputs if 'loss' in name and f'train/{name}' in logged]
    return [
        name
        for name in names
        if not math.isfinite(runner.message_hub.get_scalar(f'train/{name}').current())
    ]


def check_weights(runner: Runner) -> None:
    """Refuse to save weights that no training can repair, before they take the place of an older checkpoint.

    Raises:
        LossError: Weights are NaN or infinite.
    """
    model: nn.Module = runner.model
    broken = [
        name for name, parameter in model.named_parameters() if not parameter.isfinite().all()
    ]
    if broken:
        raise LossError(
            f'step {runner.iter + 1}: {plural(len(broken), "tensor")} of weights are NaN or infinite '
            f'({first_few(broken, limit=3)}); they are not saved. Remedies: {DIVERGENCE_REMEDIES}'
        )


EARLY_STOPPING = 'early_stopping'
"""The key of a checkpoint for the state of `ResumableEarlyStoppingHook`."""


@HOOKS.register_module(name='EarlyStoppingHook', force=True)
class ResumableEarlyStoppingHook(EarlyStoppingHook):
    """mmengine's EarlyStoppingHook, which keeps its count in a resumed training.

    It takes the place of mmengine's under the same name, so that every config has it. The arguments are the same.
    A checkpoint is saved before the validation of its iteration. If that validation brings no improvement, a training
    that is resumed from this checkpoint does not count it.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the best figure, and the number of validations since then."""
        states = checkpoint.setdefault(EARLY_STOPPING, {})
        states[self.monitor] = (float(self.best_score), self.wait_count)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Go on with the best figure of the checkpoint, if the training is resumed."""
        states = checkpoint.get(EARLY_STOPPING)
        if not runner.cfg.get('resume') or not isinstance(states, dict):
            return
        match states.get(self.monitor):
            case (float() as score, int() as count):
                self.best_score, self.wait_count = score, count


@HOOKS.register_module(name='LoggerHook', force=True)
class OneFileLoggerHook(LoggerHook):
    """mmengine's LoggerHook, but only the first process writes the figures of a test.

    It takes the place of mmengine's under the same name, so that every config has it. The arguments are the same.
    With mmengine's, all processes write the same file at once, and the end of a longer text can stay behind.
    """

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the figures, and write them to ``TIMESTAMP.json``."""
        super().after_test_epoch(runner, metrics)


PROGRESS_PREFIX = 'progress:'


@HOOKS.register_module()
class ProgressHook(Hook):
    """Prints the iteration, the loss and the remaining time.

    Args:
        interval: Iterations between two lines.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Start the clock, and the count, which is not zero in a resumed training."""
        self.start_time, self.start_iter = time.monotonic(), runner.iter

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        """Show where training stands."""
        done = runner.iter + 1
        if done % self.interval and done != runner.max_iters:
            return
        elapsed = time.monotonic() - self.start_time
        remaining = elapsed / (done - self.start_iter) * (runner.max_iters - done)
        minutes, seconds = divmod(round(remaining), 60)
        loss = runner.message_hub.get_scalar('train/loss').mean(self.interval)
        print(
            f'{PROGRESS_PREFIX} step {done}/{runner.max_iters}   loss {loss:6.1f}   {minutes} min {seconds:02d} s left',
            flush=True,
        )


@HOOKS.register_module()
class PlainHistoryHook(Hook):
    """Saves the values that a training has logged as tensors.

    mmengine saves them as objects of its class HistoryBuffer, which ``torch.load`` refuses by default. Without them,
    ``DetInferencer(weights=...)`` and ``MMSegInferencer`` read a checkpoint before they know its config, which imports
    Mask DINO. A resumed training gets the objects back.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the objects in what is saved; the training keeps its own."""
        state = checkpoint.get('message_hub')
        if state is None:
            return
        buffers = state['log_scalars'].items()
        values = state['runtime_info'].items()
        checkpoint['message_hub'] = {
            **state,
            'log_scalars': {name: _to_tensors(buffer) for name, buffer in buffers},
            'runtime_info': {name: _to_number(value) for name, value in values},
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Make the objects that mmengine resumes from; older checkpoints still have them."""
        state = checkpoint.get('message_hub')
        if state is not None:
            scalars = {name: _to_buffer(value) for name, value in state['log_scalars'].items()}
            checkpoint['message_hub'] = {**state, 'log_scalars': scalars}


def _to_tensors(buffer: HistoryBuffer) -> dict[str, Any]:
    values, counts = buffer.data
    return dict(
        values=torch.as_tensor(values), counts=torch.as_tensor(counts), max_length=buffer.max_length
    )


def _to_buffer(value: HistoryBuffer | Mapping[str, Any]) -> HistoryBuffer:
    if not isinstance(value, Mapping):
        return value
    # mmengine loads the checkpoint of a resumed training to the device of the model.
    values, counts = value['values'].cpu(), value['counts'].cpu()
    return HistoryBuffer(values.numpy(), counts.numpy(), value['max_length'])


def _to_number(value: Any) -> Any:
    """Turn a number of numpy into one of Python."""
    return value.item() if isinstance(value, np.generic) else value
