"""Panoptic quality (arXiv 1801.00868), with void and crowds as panopticapi treats them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..datasets.panoptic_png import SegmentMap
from ..messages import format_table


class Prediction(NamedTuple):
    """Predicted segments of one image."""

    pixels: np.ndarray  # (H, W) int: number of the segment, from 1, and 0 where there is none
    labels: np.ndarray  # (P,) int64


class Quality(NamedTuple):
    """Averages over classes, in percent; NaN if no class occurs."""

    pq: float
    sq: float
    rq: float
    classes: int  # that occur


def parse_panoptic(values: np.ndarray, offset: int, num_classes: int) -> Prediction:
    """Number the segments of mmdet's panoptic map (H, W), class + instance * ``offset`` with classes from 0.

    Classes from ``num_classes`` on are void.
    """
    num_values = int(values.max(initial=0)) + 1
    present = np.zeros(num_values, bool)
    present[values] = True
    ids = np.flatnonzero(present)
    classes = ids % offset
    is_segment = classes < num_classes
    ids = ids[is_segment]
    numbers = np.zeros(num_values, np.int64)
    numbers[ids] = np.arange(1, len(ids) + 1)
    return Prediction(numbers[values], classes[is_segment])


def count_matches(prediction: Prediction, truth: SegmentMap) -> np.ndarray:
    """Return rows (label, true positives, false positives, false negatives, sum of IoUs) of one image.

    A predicted and a true segment of one class match if their IoU, without void pixels, exceeds one half. A predicted
    segment without match is no false positive if more than half of it is void or crowd of its class; where there are
    several crowds of a class, the last one counts, as in panopticapi.
    """
    overlaps, void = _count_overlaps(prediction, truth)
    areas = overlaps.sum(0) + void  # (P,)
    same_class = truth.labels[:, None] == prediction.labels  # (T, P)
    counted = ~truth.is_crowd & (truth.labels >= 0)  # (T,)

    unions = truth.areas[:, None] + areas - overlaps - void
    ious = np.divide(overlaps, unions, where=overlaps > 0, out=np.zeros(overlaps.shape))
    may_match = same_class & counted[:, None]
    ious[~may_match] = 0
    matches = ious > 0.5

    ignored = void + _count_crowds(overlaps, same_class, truth)
    excused = ignored / np.maximum(areas, 1) > 0.5
    is_false = ~matches.any(0) & ~excused
    is_missed = counted & ~matches.any(1)
    false = prediction.labels[is_false]
    missed = truth.labels[is_missed]
    matched, predicted = np.nonzero(matches)
    right = truth.labels[matched]
    return _count_by_class(right, false, missed, ious[matched, predicted])


def _count_overlaps(prediction: Prediction, truth: SegmentMap) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels that true and predicted segments share (T, P), and the void pixels of predicted ones (P,)."""
    rows = len(truth.labels) + 1
    columns = len(prediction.labels) + 1
    row = truth.pixels.astype(np.int64)
    pairs = row * columns + prediction.pixels
    counts = np.bincount(pairs.ravel(), minlength=rows * columns)
    table = counts.reshape(rows, columns)  # row and column 0: no segment
    overlaps = table[1:, 1:]
    void = table[0, 1:]
    return overlaps, void


def _count_crowds(overlaps: np.ndarray, same_class: np.ndarray, truth: SegmentMap) -> np.ndarray:
    """Count the pixels of every predicted segment (P,) in the last crowd of its class."""
    last_crowds = {truth.labels[number]: number for number in np.flatnonzero(truth.is_crowd)}
    crowds = list(last_crowds.values())
    in_crowds = overlaps[crowds] * same_class[crowds]
    return in_crowds.sum(0)


def _count_by_class(
    matched: np.ndarray, false: np.ndarray, missed: np.ndarray, ious: np.ndarray
) -> np.ndarray:
    """Count the labels (N,) of each kind, by class; only classes that occur have a row."""
    present = np.unique(np.concatenate((matched, false, missed)))
    true_positives = _histogram(matched, present)
    false_positives = _histogram(false, present)
    false_negatives = _histogram(missed, present)
    rows = np.searchsorted(present, matched)
    iou_sums = np.bincount(rows, ious, len(present))
    return np.column_stack((present, true_positives, false_positives, false_negatives, iou_sums))


def _histogram(labels: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Count how often each class of the sorted array ``present`` occurs in ``labels``."""
    positions = np.searchsorted(present, labels)
    return np.bincount(positions, minlength=len(present))


def add_up(rows: Sequence[np.ndarray], num_classes: int, kinds: int) -> np.ndarray:
    """Return the counts (num_classes, kinds) of all images, from their rows (N, 1 + kinds) that begin with a label."""
    columns = np.concatenate([np.zeros((0, 1 + kinds)), *rows]).T
    labels = columns[0].astype(np.int64)
    return np.stack([np.bincount(labels, column, num_classes) for column in columns[1:]], 1)


def class_qualities(counts: np.ndarray) -> np.ndarray:
    """Return PQ, SQ and RQ (C, 3) in percent of counts (C, 4): NaN for classes that do not occur."""
    true, false, missed, iou_sum = counts.T
    weight = true + false / 2 + missed / 2
    occurs = weight > 0
    weight = np.where(occurs, weight, np.nan)
    pq = iou_sum / weight
    sq = np.where(occurs, iou_sum / np.maximum(true, 1), np.nan)
    rq = true / weight
    return 100 * np.stack((pq, sq, rq), 1)


def average_qualities(qualities: np.ndarray) -> Quality:
    """Return the averages of (C, 3) over the classes that occur."""
    occurring = qualities[~np.isnan(qualities[:, 0])]
    pq, sq, rq = occurring.mean(0).tolist() if len(occurring) else [float('nan')] * 3
    return Quality(pq, sq, rq, len(occurring))


def quality_table(averages: Mapping[str, Quality]) -> str:
    """Return the table of averages, a row for each kind of classes."""
    rows = []
    for kind, quality in averages.items():
        values = [f'{value:.3f}' for value in quality[:3]]
        rows.append([kind, *values, str(quality.classes)])
    return format_table(['', 'PQ', 'SQ', 'RQ', 'categories'], rows)


def class_table(qualities: np.ndarray, classes: Sequence[str]) -> str:
    """Return the table of PQ, SQ and RQ (C, 3) of classes."""
    rows = [
        [name, *(f'{value:.3f}' for value in row)]
        for name, row in zip(classes, qualities, strict=True)
    ]
    return format_table(['category', 'PQ', 'SQ', 'RQ'], rows)


def iou_table(ious: np.ndarray, classes: Sequence[str]) -> str:
    """Return the table of IoUs (C,) of classes."""
    rows = [[name, f'{value:.3f}'] for name, value in zip(classes, ious, strict=True)]
    return format_table(['category', 'IoU'], rows)
