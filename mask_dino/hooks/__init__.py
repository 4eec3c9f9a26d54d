"""Hooks of the runner."""

from .check_checkpoint import CheckCheckpointHook
from .check_data import CheckDataHook
from .losses import (
    CheckLossHook,
    OneFileLoggerHook,
    PlainHistoryHook,
    ProgressHook,
    ResumableEarlyStoppingHook,
)
from .save_checkpoint import DurableCheckpointHook

__all__ = [
    'CheckCheckpointHook',
    'CheckDataHook',
    'CheckLossHook',
    'DurableCheckpointHook',
    'OneFileLoggerHook',
    'PlainHistoryHook',
    'ProgressHook',
    'ResumableEarlyStoppingHook',
]
