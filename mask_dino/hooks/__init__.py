"""Hooks of the runner."""

from .checkpoint import CheckCheckpointHook
from .data import CheckDataHook

__all__ = ['CheckCheckpointHook', 'CheckDataHook']
