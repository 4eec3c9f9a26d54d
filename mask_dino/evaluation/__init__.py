"""Metrics of panoptic models that need nothing beyond mmdet."""

from .coco import CompleteCocoMetric
from .panoptic import PanopticQualityMetric
from .precision import StuffAPMetric, ThingAPMetric
from .semantic import PanopticIoUMetric

__all__ = ['CompleteCocoMetric', 'PanopticIoUMetric', 'PanopticQualityMetric', 'StuffAPMetric', 'ThingAPMetric']
