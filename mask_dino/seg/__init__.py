"""Mask DINO under MMSegmentation: importing this package registers every part that a config can name.

A config names it: ``custom_imports = dict(imports=['mask_dino.seg'], allow_failed_imports=False)``.
"""

from .. import checkpoints, compat, hooks, models, optim
from . import shapes, transforms, tta, visualizer
from .decode_head import MaskDINODecodeHead

__all__ = [
    'MaskDINODecodeHead',
    'checkpoints',
    'compat',
    'hooks',
    'models',
    'optim',
    'shapes',
    'transforms',
    'tta',
    'visualizer',
]
