"""How good the results of one image are, to find the worst and the best images of a data set."""

from collections.abc import Sequence

import numpy as np
from mmengine.structures import BaseDataElement

from .pictures import Segment, list_instances, list_panoptic, list_semantic
from .truth import Truth

MATCHED = 0.5
"""Intersection over union from which a predicted segment is the annotated one."""


class Task:
    """One kind of results, and what their quality means."""

    name: str
    field: str
    quality: str

    def list_results(self, sample: BaseDataElement, classes: Sequence[str]) -> list[Segment]:
        """Return the segments of a result."""
        raise NotImplementedError

    def choose_truth(self, truth: Truth, num_things: int) -> Truth:
        """Return the annotated objects that the task is about."""
        raise NotImplementedError

    def rate(self, segments: Sequence[Segment], truth: Truth) -> float:
        """Return the quality of the results of one image, in [0, 1]."""
        return rate_segments(segments, truth)


class Instances(Task):
    """Things with their boxes, masks and scores."""

    name = 'instances'
    field = 'pred_instances'
    quality = 'sum of the IoUs of matched masks / (matches + half of the unmatched predictions and objects)'

    def __init__(self, score_thr: float) -> None:
        self.score_thr = score_thr

    def list_results(self, sample: BaseDataElement, classes: Sequence[str]) -> list[Segment]:
        """Return the segments of a result."""
        return list_instances(sample, classes, self.score_thr)

    def choose_truth(self, truth: Truth, num_things: int) -> Truth:
        """Return the annotated objects that the task is about."""
        is_thing = truth.labels < num_things
        return Truth(*(field[is_thing] for field in truth))


class Panoptic(Task):
    """Things and stuff that share the pixels of the image among them."""

    name = 'panoptic'
    field = 'pred_panoptic_seg'
    quality = 'panoptic quality of the image, all classes together'

    def list_results(self, sample: BaseDataElement, classes: Sequence[str]) -> list[Segment]:
        """Return the segments of a result."""
        return list_panoptic(sample, classes)

    def choose_truth(self, truth: Truth, num_things: int) -> Truth:
        """Return the annotated objects that the task is about."""
        return truth


class Semantic(Task):
    """The class of every pixel."""

    name = 'semantic'
    field = 'pred_sem_seg'
    quality = 'mean IoU of the classes that are annotated in the image'

    def list_results(self, sample: BaseDataElement, classes: Sequence[str]) -> list[Segment]:
        """Return the segments of a result."""
        return list_semantic(sample, classes)

    def choose_truth(self, truth: Truth, num_things: int) -> Truth:
        """Return one object for each class: all of its pixels."""
        labels = np.unique(truth.labels)
        masks = np.zeros((len(labels), *truth.masks.shape[1:]), bool)
        for number, label in enumerate(labels):
            same_class = truth.labels == label
            masks[number] = truth.masks[same_class].any(0)
        no_boxes = np.zeros((len(labels), 4), np.float32)
        return Truth(labels, no_boxes, masks)

    def rate(self, segments: Sequence[Segment], truth: Truth) -> float:
        """Return the quality of the results of one image, in [0, 1]."""
        return rate_classes(segments, truth)


def find_tasks(sample: BaseDataElement, score_thr: float) -> list[Task]:
    """Return the tasks that a result is for."""
    tasks = (Instances(score_thr), Panoptic(), Semantic())
    return [task for task in tasks if task.field in sample]


def rate_segments(segments: Sequence[Segment], truth: Truth) -> float:
    """Return the panoptic quality of one image, all classes together; 1 if there is nothing to find.

    A predicted segment and an object of its class match if their IoU exceeds one half; each matches at most once, the
    best pairs first.
    """
    if not segments and not len(truth.labels):
        return 1.0
    overlaps = _compare(segments, truth)
    total, matches = 0.0, 0
    while overlaps.size and overlaps.max() > MATCHED:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        total += float(overlaps[row, column])
        matches += 1
        overlaps[row] = 0
        overlaps[:, column] = 0
    unmatched = len(segments) + len(truth.labels) - 2 * matches
    return total / (matches + unmatched / 2)


def rate_classes(segments: Sequence[Segment], truth: Truth) -> float:
    """Return the mean IoU over the annotated classes of one image; pixels without annotation do not count."""
    if not len(truth.labels):
        return 1.0
    known = truth.masks.any(0)
    cut = [segment._replace(mask=segment.mask & known) for segment in segments]
    overlaps = _compare(cut, truth)
    return float(overlaps.max(0, initial=0).mean())


def _compare(segments: Sequence[Segment], truth: Truth) -> np.ndarray:
    """Return the IoU (P, N) of predicted segments and annotated objects, 0 where their classes differ."""
    overlaps = np.zeros((len(segments), len(truth.labels)))
    for row, segment in enumerate(segments):
        for column in np.flatnonzero(truth.labels == segment.label):
            mask = truth.masks[column]
            intersection = (segment.mask & mask).sum()
            union = (segment.mask | mask).sum()
            overlaps[row, column] = intersection / max(union, 1)
    return overlaps
