"""Predictions of one image -> results at the size of the original image, within a budget of memory."""

from .instances import Instances, Pairs, best_pairs, binarise, instances
from .panoptic import Segments, merge
from .resize import ImageSizes, enlarge, enlarge_rows, scale_boxes, strips
from .semantic import label_pixels, score_pixels, sharpen

__all__ = [
    'ImageSizes',
    'Instances',
    'Pairs',
    'Segments',
    'best_pairs',
    'binarise',
    'enlarge',
    'enlarge_rows',
    'instances',
    'label_pixels',
    'merge',
    'scale_boxes',
    'score_pixels',
    'sharpen',
    'strips',
]
