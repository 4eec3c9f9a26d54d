"""Metrics of instance and panoptic models. They need no package that mmdet does not need."""

from .coco import CompleteCocoMetric
from .panoptic import PanopticQualityMetric, StuffAPMetric, ThingAPMetric
from .semantic import PanopticIoUMetric

__all__ = [
    'CompleteCocoMetric',
    'PanopticIoUMetric',
    'PanopticQualityMetric',
    'StuffAPMetric',
    'ThingAPMetric',
]
