"""Mask DINO under MMDetection: importing this package registers every part that a config can name.

A config names it: ``custom_imports = dict(imports=['mask_dino.det'], allow_failed_imports=False)``.
"""

from .. import checkpoints, compat, evaluation, hooks, models, optim
from ..compat import complete_inferencer
from ..datasets import coco, panoptic, panoptic_png
from . import visualizer
from .detector import MaskDINO
from .fusion_head import MaskDINOFusionHead

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
    'visualizer',
]

complete_inferencer()
