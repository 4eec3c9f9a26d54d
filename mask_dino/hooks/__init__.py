"""Hooks of the runner."""

from .check_checkpoint import CheckCheckpointHook
from .check_data import CheckDataHook
from .losses import CheckLossHook, PlainHistoryHook, ProgressHook, ResumableEarlyStoppingHook
from .save_checkpoint import DurableCheckpointHook

__all__ = [
    'CheckCheckpointHook',
    'CheckDataHook',
    'CheckLossHook',
    'DurableCheckpointHook',
    'PlainHistoryHook',
    'ProgressHook',
    'ResumableEarlyStoppingHook',
]
