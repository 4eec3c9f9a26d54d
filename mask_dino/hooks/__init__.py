"""Hooks of the runner."""

from .check_checkpoint import CheckCheckpointHook
from .check_data import CheckDataHook
from .check_loss import CheckLossHook
from .plain_history import PlainHistoryHook
from .progress import ProgressHook
from .save_checkpoint import DurableCheckpointHook

__all__ = [
    'CheckCheckpointHook',
    'CheckDataHook',
    'CheckLossHook',
    'DurableCheckpointHook',
    'PlainHistoryHook',
    'ProgressHook',
]
