"""Instances and panoptic maps: from the outputs of the network for one image to the size of the image.

It computes what ``mask_dino.postprocess`` does, on which the tests compare both. The exported graph ranks the pairs of
query and class; what is here depends on the size of the image or on how many queries remain, or would need the memory
of all enlarged masks at once inside a graph.
"""

from typing import NamedTuple

import numpy as np

from .enlarge import Enlargement, ImageSizes, sigmoid, split_strips
from .metadata import Thresholds

INSTANCE_OFFSET = 1000
"""Panoptic ids are class + INSTANCE_OFFSET * number of the thing, as in MMDetection."""


DEFAULTS = Thresholds()
SMALLEST_AREA = 1e-6
"""Square pixels that stand for no area, so that nothing is divided by 0."""
MIN_IOU = 0.5
"""IoU of a predicted box and the box of the mask from which on both are taken to be of the same object."""


class Pairs(NamedTuple):
    """The pairs of query and class of one image, best first."""

    scores: np.ndarray  # (N,) class probabilities
    labels: np.ndarray  # (N,)
    boxes: np.ndarray  # (N, 4) xyxy in [0, 1] of the padded input
    masks: np.ndarray  # (N,) index of the mask of each pair


class Instances(NamedTuple):
    """Instances of one image, by falling score."""

    scores: np.ndarray  # (N,)
    labels: np.ndarray  # (N,) int64
    boxes: np.ndarray  # (N, 4) xyxy in pixels of the output, not clipped
    masks: np.ndarray | None  # (N, height, width) bool at the output size


def make_instances(
    pairs: Pairs,
    masks: np.ndarray,
    sizes: ImageSizes,
    keep_masks: bool,
    thresholds: Thresholds = DEFAULTS,
) -> Instances:
    """Multiply the scores of pairs with the scores of their masks, and sort the pairs.

    Args:
        masks: Logits (M, h, w) of the padded input.
        keep_masks: Whether the masks are wanted; without them, the memory of one of them is enough.
        thresholds: Whether boxes and scores depend on how boxes and masks agree, and which instances are left out.
    """
    # A query may be selected with several classes. Its mask is enlarged once.
    unique, copy = np.unique(pairs.masks, return_inverse=True)
    count = len(copy) if keep_masks else min(1, len(copy))
    binary = np.zeros((count, *sizes.output), bool)
    enlargement = Enlargement.between(masks.shape[-2:], sizes)
    quality = np.zeros(len(unique), np.float32)
    enclosing = np.zeros((len(unique), 4), np.float32)
    compares_boxes = thresholds.mean_boxes or thresholds.agreement_scores
    for number, mask in enumerate(unique):
        out = binary[number if keep_masks else 0]
        quality[number] = binarise_mask(masks[mask], enlargement, out)
        if compares_boxes:
            enclosing[number] = enclose_mask(out)
    scores = pairs.scores * quality[copy]
    boxes = scale_boxes(pairs.boxes, sizes)
    enclosing = enclosing[copy]
    if thresholds.agreement_scores:
        scores *= np.sqrt(measure_agreement(boxes, enclosing))
    if thresholds.mean_boxes:
        boxes = average_boxes(boxes, enclosing)
    order = np.argsort(-scores, kind='stable')
    if thresholds.nms_iou is not None:
        distinct = find_distinct(boxes[order], pairs.labels[order], thresholds.nms_iou)
        order = order[distinct]
    if keep_masks:
        _arrange(binary, copy[order])
    labels = pairs.labels[order].astype(np.int64)
    return Instances(
        scores[order], labels, boxes[order], binary[: len(order)] if keep_masks else None
    )


def binarise_mask(mask: np.ndarray, enlargement: Enlargement, out: np.ndarray) -> float:
    """Write where an enlarged mask (h, w) is positive into ``out`` (H, W), and return its mean probability there.

    A weighted mean of negative logits is negative: only what the positive ones reach is computed.
    """
    out[:] = False
    rows, columns = _find_occupied(mask > 0)
    if not len(rows):
        return 0.0
    height = enlargement.rows.reached(rows[0], rows[-1])
    width = enlargement.columns.reached(columns[0], columns[-1])
    if height.start == height.stop or width.start == width.stop:
        return 0.0  # it is positive in the padding only
    total, count = 0.0, 0
    for strip in split_strips(height.stop - height.start, width.stop - width.start):
        strip = slice(height.start + strip.start, height.start + strip.stop)
        logits = enlargement.part(mask, strip, width)
        inside = np.greater(logits, 0, out=out[strip, width])
        total += float(sigmoid(logits[inside]).sum(dtype=np.float64))
        count += int(np.count_nonzero(inside))
    return total / (count + 1e-6)


def enclose_mask(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the box, xyxy in pixels, of a mask (H, W) bool; zeros for an empty mask."""
    rows, columns = _find_occupied(mask)
    if not len(rows):
        return 0, 0, 0, 0
    left, right = columns[0], columns[-1] + 1
    top, bottom = rows[0], rows[-1] + 1
    return left, top, right, bottom


def _find_occupied(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices, ascending, of the rows and the columns of a mask (H, W) bool that have a pixel."""
    return np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))


def measure_agreement(boxes: np.ndarray, enclosing: np.ndarray) -> np.ndarray:
    """Return the IoU (N,) of two boxes (N, 4), xyxy; 0 for boxes without an area."""
    intersection, union = _overlap(boxes, enclosing)
    return intersection / np.maximum(union, SMALLEST_AREA)


def average_boxes(boxes: np.ndarray, enclosing: np.ndarray) -> np.ndarray:
    """Return the means (N, 4) of two boxes, xyxy; the first where their IoU is below MIN_IOU."""
    is_same = measure_agreement(boxes, enclosing) >= MIN_IOU
    means = (boxes + enclosing) / 2
    return np.where(is_same[:, None], means, boxes)


def find_distinct(boxes: np.ndarray, labels: np.ndarray, nms_iou: float) -> list[int]:
    """Return the indices of the instances that no better one of the same class covers.

    Args:
        boxes: (N, 4) xyxy, the best first.
        labels: (N,).
        nms_iou: IoU above which a better instance covers another one.
    """
    intersection, union = _overlap(boxes[:, None], boxes[None])  # (N, N)
    covers = (intersection > nms_iou * union) & (labels[:, None] == labels[None])
    distinct: list[int] = []
    for index in range(len(boxes)):
        if not covers[distinct, index].any():
            distinct.append(index)
    return distinct


def _overlap(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas of the intersection and of the union (...) of boxes (..., 4), xyxy."""
    upper_left = np.maximum(first[..., :2], second[..., :2])
    lower_right = np.minimum(first[..., 2:], second[..., 2:])
    sides = (lower_right - upper_left).clip(min=0)
    intersection = sides.prod(-1)
    union = _areas(first) + _areas(second) - intersection
    return intersection, union


def _areas(boxes: np.ndarray) -> np.ndarray:
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.asarray(sides.prod(-1))


def _arrange(binary: np.ndarray, order: np.ndarray) -> None:
    """Put masks (N, H, W) in order, of M <= N, in place, since they are most of the memory."""
    height, width = binary.shape[1:]
    for rows in split_strips(height, width * max(1, len(binary))):
        binary[: len(order), rows] = binary[:, rows][order]


def scale_boxes(boxes: np.ndarray, sizes: ImageSizes) -> np.ndarray:
    """Bring boxes (N, 4), fractions of the padded input, to pixels of the output."""
    height, width = (
        padded / resized * output for padded, resized, output in zip(*sizes, strict=True)
    )
    return boxes * np.array([width, height, width, height], np.float32)


class Competitors(NamedTuple):
    """The queries that take part in a panoptic map."""

    weights: np.ndarray  # (N,) of their masks in the competition
    labels: np.ndarray  # (N,)
    masks: np.ndarray  # (N, h, w) logits


def make_panoptic(
    queries: Competitors, sizes: ImageSizes, num_things: int, num_classes: int, overlap: float
) -> np.ndarray:
    """Return MMDetection's panoptic map (height, width) int32.

    Masks compete for pixels; those that lose most of theirs are dropped; stuff of one class is one segment.

    Args:
        num_things: Labels from here on are stuff.
        num_classes: The value of pixels without a segment.
        overlap: Share of its area that a mask has to win.
    """
    owner, inside, areas = _compete(queries, sizes)
    count = len(queries.weights)
    won = np.bincount(owner.ravel(), minlength=count)
    visible = np.bincount(owner[inside], minlength=count)
    values = np.full(count + 1, num_classes, np.int32)  # the last value stands for "no segment"
    things = 0
    for query, label in enumerate(queries.labels):
        if not areas[query] or not visible[query] or won[query] / areas[query] < overlap:
            continue
        things += label < num_things
        values[query] = label + INSTANCE_OFFSET * things if label < num_things else label
    owner[~inside] = count
    return values[owner]


def _compete(queries: Competitors, sizes: ImageSizes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the strongest query of each pixel, whether the pixel lies inside its mask, and the areas of all masks."""
    owner = np.zeros(sizes.output, np.int32)
    inside = np.zeros(sizes.output, bool)
    areas = np.zeros(len(queries.weights), np.int64)
    enlargement = Enlargement.between(queries.masks.shape[-2:], sizes)
    for rows in split_strips(*sizes.output):
        strongest = np.full(owner[rows].shape, -1, np.float32)
        for query, weight in enumerate(queries.weights):
            probability = sigmoid(enlargement.part(queries.masks[query], rows))
            solid = probability >= 0.5
            areas[query] += np.count_nonzero(solid)
            probability *= weight
            wins = probability > strongest
            np.copyto(strongest, probability, where=wins)
            np.copyto(owner[rows], query, where=wins)
            np.copyto(inside[rows], solid, where=wins)
    return owner, inside, areas
