"""Metrics of panoptic models that need nothing beyond mmdet."""

from .panoptic import PanopticQualityMetric
from .precision import StuffAPMetric, ThingAPMetric
from .semantic import PanopticIoUMetric

__all__ = ['PanopticIoUMetric', 'PanopticQualityMetric', 'StuffAPMetric', 'ThingAPMetric']
