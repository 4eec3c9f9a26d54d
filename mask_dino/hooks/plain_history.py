"""Checkpoints that torch reads without the classes of mmengine."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS
from mmengine.runner import Runner


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
        if state is not None:
            scalars = {name: _to_tensors(buffer) for name, buffer in state['log_scalars'].items()}
            info = {name: _to_number(value) for name, value in state['runtime_info'].items()}
            checkpoint['message_hub'] = {**state, 'log_scalars': scalars, 'runtime_info': info}

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
    return HistoryBuffer(value['values'].numpy(), value['counts'].numpy(), value['max_length'])


def _to_number(value: Any) -> Any:
    """Turn a number of numpy into one of Python."""
    return value.item() if isinstance(value, np.generic) else value
