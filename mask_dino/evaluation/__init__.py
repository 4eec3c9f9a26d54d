"""Metrics of panoptic models that need nothing beyond mmdet."""

from .average_precision import CompleteCocoMetric, StuffAPMetric, ThingAPMetric
from .panoptic import PanopticQualityMetric
from .semantic import PanopticIoUMetric

__all__ = ['CompleteCocoMetric', 'PanopticIoUMetric', 'PanopticQualityMetric', 'StuffAPMetric', 'ThingAPMetric']
