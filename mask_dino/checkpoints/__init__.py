"""Checkpoints: read safely, whoever wrote them.

Importing this package makes mmengine read checkpoints through it.
"""

from .loaders import register_loaders
from .loading import CheckpointError, load_checkpoint_safely

__all__ = ['CheckpointError', 'load_checkpoint_safely', 'register_loaders']

register_loaders()
