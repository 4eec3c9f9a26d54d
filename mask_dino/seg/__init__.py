"""Mask DINO under MMSegmentation: importing this package registers every part that a config can name.

A config names it: ``custom_imports = dict(imports=['mask_dino.seg'], allow_failed_imports=False)``.

The import also changes the whole process, as :mod:`mask_dino.compat` explains: mmengine knows configs named
``mask_dino::``, it loads every checkpoint from a path or URL without running code, and mmseg's inference takes more
kinds of files and arrays.
"""

from mmseg.apis import MMSegInferencer, inference

from .. import checkpoints, compat, hooks, models, optim
from ..compat import register_config_prefix, repair_seg_inference
from . import data
from .decode_head import MaskDINODecodeHead

__all__ = [
    'MaskDINODecodeHead',
    'checkpoints',
    'compat',
    'data',
    'hooks',
    'models',
    'optim',
]

register_config_prefix()
repair_seg_inference(MMSegInferencer, inference)
