"""Checkpoints: read safely, whoever wrote them.

Importing this package makes mmengine read checkpoints through it.
"""

from .loading import CheckpointError, load_checkpoint_safely, register

__all__ = ['CheckpointError', 'load_checkpoint_safely', 'register']

register()
