"""Hooks of the runner."""

from .check_checkpoint import CheckCheckpointHook
from .check_data import CheckDataHook
from .progress import ProgressHook

__all__ = ['CheckCheckpointHook', 'CheckDataHook', 'ProgressHook']
