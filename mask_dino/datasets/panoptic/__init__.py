"""Panoptic annotations in COCO's format, a PNG of segment ids per image and a JSON file, read without panopticapi."""

from .cityscapes import CityscapesPanopticDataset
from .dataset import CheckedADE20KPanopticDataset, CheckedCocoPanopticDataset
from .loading import LoadCocoPanopticAnnotations

__all__ = [
    'CheckedADE20KPanopticDataset',
    'CheckedCocoPanopticDataset',
    'CityscapesPanopticDataset',
    'LoadCocoPanopticAnnotations',
]
