"""Mask DINO under MMDetection: importing this package registers every part that a config can name.

A config names it: ``custom_imports = dict(imports=['mask_dino.det'], allow_failed_imports=False)``.

The import also changes the whole process, as :mod:`mask_dino.compat` explains. mmengine knows configs named
``mask_dino::``, and loads every checkpoint from a path or URL without running code. mmdet's inference makes panoptic
results without panopticapi, and takes more kinds of files and arrays.
"""

from .. import checkpoints, compat, evaluation, hooks, models, optim
from ..compat import complete_inferencer, register_config_prefix, repair_det_inference
from ..datasets import coco, panoptic, panoptic_png
from . import transforms, visualizer
from .detector import MaskDINO
from .fusion_head import MaskDINOFusionHead

# Everything here is imported because importing it registers something; the data sets need the checks before them.
__all__ = [
    'MaskDINO',
    'MaskDINOFusionHead',
    'checkpoints',
    'coco',
    'compat',
    'evaluation',
    'hooks',
    'models',
    'optim',
    'panoptic',
    'panoptic_png',
    'transforms',
    'visualizer',
]

register_config_prefix()
complete_inferencer()
repair_det_inference()
