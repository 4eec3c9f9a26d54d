"""Average precision and recall as pycocotools defines them, from objects and detections without ids.

pycocotools keeps ids of its own: a detection matched with the annotation of id 0 counts as unmatched, strings end in an
error, and of two annotations with one id the first is lost. Here objects are only positions in arrays. All areas and
thresholds are matched at once, and only one byte per detection, area and threshold is kept.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pycocotools import mask as coco_masks

AREAS = {'': (0.0, 1e10), 's': (0.0, 32.0**2), 'm': (32.0**2, 96.0**2), 'l': (96.0**2, 1e10)}
"""Least and largest area in square pixels, by the letter in the names of figures."""
RECALLS = np.linspace(0, 1, 101)
"""Precision is averaged over these recalls."""

Regions = Sequence[Any]
"""Boxes [x, y, width, height] in pixels, or masks as compressed run lengths."""


class Objects(NamedTuple):
    """The annotated objects of one image."""

    labels: np.ndarray  # (G,) int64
    areas: np.ndarray  # (G,) pixels, as the annotation file states them
    is_crowd: np.ndarray  # (G,) bool
    regions: Regions

    def select(self, indices: np.ndarray) -> 'Objects':
        """Return the objects at some indices (N,)."""
        regions = [self.regions[index] for index in indices]
        return Objects(self.labels[indices], self.areas[indices], self.is_crowd[indices], regions)


class Detections(NamedTuple):
    """The detections of one image."""

    labels: np.ndarray  # (D,) int64
    areas: np.ndarray  # (D,) pixels
    scores: np.ndarray  # (D,)
    regions: Regions

    def select(self, indices: np.ndarray) -> 'Detections':
        """Return the detections at some indices (N,)."""
        regions = [self.regions[index] for index in indices]
        return Detections(self.labels[indices], self.areas[indices], self.scores[indices], regions)


Image = TypeVar('Image', Objects, Detections)


class _Verdicts(NamedTuple):
    """The detections of one class in one image, by falling score, and what became of them."""

    scores: np.ndarray  # (D,)
    verdicts: np.ndarray  # (A, T, D) uint8: WRONG, RIGHT or IGNORED


WRONG, RIGHT, IGNORED = 0, 1, 2


class Curves(NamedTuple):
    """Precision and recall; NaN where there is no object to find."""

    precision: np.ndarray  # (T, 101, C, A, M) at each of RECALLS
    recall: np.ndarray  # (T, C, A, M)


class Evaluation:
    """Collects what became of the detections of every image, and makes curves of it.

    Args:
        num_classes: C.
        thresholds: IoUs (T,) from which on a detection matches.
        max_detections: (M,) numbers of best detections, per image and class, to look at.
    """

    def __init__(
        self, num_classes: int, thresholds: np.ndarray, max_detections: Sequence[int]
    ) -> None:
        self.thresholds = thresholds
        self.max_detections = sorted(max_detections)
        # The number of objects that should be found.
        self.positives = np.zeros((num_classes, len(AREAS)), np.int64)
        self._verdicts: list[list[_Verdicts]] = [[] for _ in range(num_classes)]

    def add_image(self, objects: Objects, detections: Detections) -> None:
        """Match the objects and the detections of one image, class by class."""
        best_first = np.argsort(-detections.scores, kind='stable')
        for label in np.union1d(objects.labels, detections.labels).tolist():
            annotated = np.flatnonzero(objects.labels == label)
            is_label = detections.labels[best_first] == label
            detected = best_first[is_label]
            counted = detected[: self.max_detections[-1]]
            self._match_class(label, objects.select(annotated), detections.select(counted))

    def _match_class(self, label: int, objects: Objects, detections: Detections) -> None:
        optional = objects.is_crowd | _outside_areas(objects.areas)
        self.positives[label] += (~optional).sum(1)
        if not len(detections.scores):
            return
        shape = (len(AREAS), len(self.thresholds), len(detections.scores))
        verdicts = np.full(shape, WRONG, np.uint8)
        if len(objects.labels):
            ious = compute_ious(detections.regions, objects.regions, objects.is_crowd)
            match_greedily(ious, self.thresholds, objects.is_crowd, optional, verdicts)
        outside = _outside_areas(detections.areas)[:, None]
        verdicts[(verdicts == WRONG) & outside] = IGNORED
        self._verdicts[label].append(_Verdicts(detections.scores, verdicts))

    def compute_curves(self) -> Curves:
        """Return precision and recall of all classes, areas and numbers of detections."""
        classes, areas = self.positives.shape
        thresholds, numbers = len(self.thresholds), len(self.max_detections)
        precision = np.full((thresholds, len(RECALLS), classes, areas, numbers), np.nan)
        recall = np.full((thresholds, classes, areas, numbers), np.nan)
        has_objects = self.positives.any(1)
        for label in np.flatnonzero(has_objects).tolist():
            for number, limit in enumerate(self.max_detections):
                curves = self._trace_class(label, limit)
                precision[:, :, label, :, number] = curves.precision
                recall[:, label, :, number] = curves.recall
        return Curves(precision, recall)

    def _trace_class(self, label: int, limit: int) -> Curves:
        """Return precision (T, 101, A) and recall (T, A) of the ``limit`` best detections of every image."""
        verdicts = self._rank_class(label, limit)
        right = np.cumsum(verdicts == RIGHT, -1, dtype=float)
        wrong = np.cumsum(verdicts == WRONG, -1, dtype=float)
        precision = np.full((len(self.thresholds), len(RECALLS), len(AREAS)), np.nan)
        recall = np.full((len(self.thresholds), len(AREAS)), np.nan)
        for area, positives in enumerate(self.positives[label].tolist()):
            if not positives:
                continue
            for index in range(len(self.thresholds)):
                values, final_recall = trace_curve(
                    right[area, index], wrong[area, index], positives
                )
                precision[index, :, area] = values
                recall[index, area] = final_recall
        return Curves(precision, recall)

    def _rank_class(self, label: int, limit: int) -> np.ndarray:
        """Return the verdicts (A, T, N) on the detections of a class in all images, the best first."""
        scores = [np.zeros(0)]
        verdicts = [np.zeros((len(AREAS), len(self.thresholds), 0), np.uint8)]
        for image in self._verdicts[label]:
            scores.append(image.scores[:limit])
            verdicts.append(image.verdicts[..., :limit])
        best_first = np.argsort(-np.concatenate(scores), kind='stable')
        ranked: np.ndarray = np.concatenate(verdicts, -1)[..., best_first]
        return ranked


def compute_ious(detections: Regions, objects: Regions, is_crowd: np.ndarray) -> np.ndarray:
    """Return IoUs (D, G); with a crowd, the share of the detection that lies inside it."""
    ious: np.ndarray = coco_masks.iou(
        list(detections), list(objects), is_crowd.astype(np.uint8).tolist()
    )
    return ious


def match_greedily(
    ious: np.ndarray,
    thresholds: np.ndarray,
    is_crowd: np.ndarray,
    optional: np.ndarray,
    verdicts: np.ndarray,
) -> None:
    """Give each detection, the best first, the object that it covers best, as pycocotools does.

    An object is given once, a crowd any number of times. A detection gets an optional object only if it reaches no
    other, and is then ignored. Of equal IoUs, the last counts.

    Args:
        ious: (D, G), detections by falling score.
        thresholds: (T,).
        is_crowd: (G,) bool.
        optional: (A, G) bool: objects that need not be found, for each range of areas.
        verdicts: (A, T, D) uint8, written where a detection gets an object.
    """
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]  # (T, 1)
    free = np.ones((len(optional), len(thresholds), ious.shape[1]), bool)  # (A, T, G)
    areas, levels = np.ogrid[: len(optional), : len(thresholds)]
    reaching = (ious >= least.min()).any(1)
    for detection in np.flatnonzero(reaching):
        overlaps = ious[detection]  # (G,)
        reached = free & (overlaps >= least)  # (A, T, G)
        required = reached & ~optional[:, None]
        has_required = required.any(-1, keepdims=True)
        candidates = np.where(has_required, required, reached)
        is_matched = candidates.any(-1)  # (A, T)
        overlaps = np.where(candidates, overlaps, -1)
        chosen = _last_argmax(overlaps)  # (A, T)
        is_optional = optional[areas, chosen]
        verdict = np.where(is_optional, IGNORED, RIGHT)
        verdicts[..., detection] = np.where(is_matched, verdict, WRONG)
        stays_free = ~is_matched | is_crowd[chosen]
        free[areas, levels, chosen] &= stays_free


def _last_argmax(values: np.ndarray) -> np.ndarray:
    """Return the index of the largest value along the last axis, the last one of equals."""
    backwards: np.ndarray = values[..., ::-1].argmax(-1)
    return values.shape[-1] - 1 - backwards


def trace_curve(right: np.ndarray, wrong: np.ndarray, positives: int) -> tuple[np.ndarray, float]:
    """Return the precision at each of RECALLS (101,), and the recall at the end.

    Precision at a recall is the largest at this or any higher recall; beyond the last it is 0.

    Args:
        right: Number of true positives (N,) among the detections so far, the best first.
        wrong: Number of false positives (N,).
        positives: Objects to find.
    """
    if not len(right):
        return np.zeros(len(RECALLS)), 0.0
    recalls = right / positives
    precisions = right / (wrong + right + np.spacing(1))
    from_the_end = precisions[::-1]
    largest_after = np.maximum.accumulate(from_the_end)[::-1]
    with_end = np.append(largest_after, 0.0)
    places = np.searchsorted(recalls, RECALLS, side='left')
    return with_end[places], float(recalls[-1])


def empty_detections() -> Detections:
    """Return the detections of an image in which nothing is found."""
    nothing = np.zeros(0)
    return Detections(nothing.astype(np.int64), nothing, nothing, [])


def without_classes(image: Image) -> Image:
    """Return objects or detections as one class, class after class, for class-agnostic proposals."""
    by_class = np.argsort(image.labels, kind='stable')
    return image.select(by_class)._replace(labels=np.zeros_like(image.labels))


def _outside_areas(areas: np.ndarray) -> np.ndarray:
    """Return (A, N) bool: which areas (N,) lie outside each of AREAS."""
    limits = np.array(list(AREAS.values()))  # (A, 2)
    too_small = areas < limits[:, :1]
    too_large = areas > limits[:, 1:]
    outside: np.ndarray = too_small | too_large
    return outside
