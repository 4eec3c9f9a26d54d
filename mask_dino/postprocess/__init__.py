"""Predictions of one image -> results at the size of the original image, within a budget of memory."""

from .finite import check_finite
from .instances import Instances, Pairs, binarise_masks, make_instances, select_best_pairs
from .panoptic import Segments, merge_masks
from .resize import ImageSizes, enlarge_masks, enlarge_rows, scale_boxes, split_rows
from .semantic import TEMPERATURE, label_pixels, score_pixels, sharpen_classes
from .things import (
    average_boxes,
    clean_things,
    enclose_masks,
    find_distinct,
    measure_agreement,
)

__all__ = [
    'TEMPERATURE',
    'ImageSizes',
    'Instances',
    'Pairs',
    'Segments',
    'average_boxes',
    'binarise_masks',
    'check_finite',
    'clean_things',
    'enclose_masks',
    'enlarge_masks',
    'enlarge_rows',
    'find_distinct',
    'label_pixels',
    'make_instances',
    'measure_agreement',
    'merge_masks',
    'scale_boxes',
    'score_pixels',
    'select_best_pairs',
    'sharpen_classes',
    'split_rows',
]
