"""Instance results: pairs of query and class, ranked before any mask is enlarged."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .resize import ImageSizes, enlarge_masks, scale_boxes, split_rows
from .things import average_boxes, enclose_masks, find_distinct, measure_agreement


class Pairs(NamedTuple):
    """Pairs of a query and a class."""

    scores: Tensor  # (N,) class probabilities
    query: Tensor  # (N,) indices
    labels: Tensor  # (N,) int64

    def where(self, chosen: Tensor) -> 'Pairs':
        """Keep the pairs that are chosen (N,) bool."""
        return Pairs(*(x[chosen] for x in self))


class Instances(NamedTuple):
    """Instances of one image, the highest score first."""

    scores: Tensor  # (N,) in [0, 1]
    labels: Tensor  # (N,) int64
    boxes: Tensor  # (N, 4) xyxy in pixels of the output, not clipped
    masks: Tensor  # (N, height, width) bool at the output size


def select_best_pairs(logits: Tensor, max_pairs: int) -> Pairs:
    """Return the pairs of highest class probability, the best first, of logits (..., Q, num_classes) of a sigmoid."""
    num_classes = logits.shape[-1]
    scores = logits.sigmoid().flatten(-2)
    num_pairs = min(max_pairs, scores.shape[-1])
    scores, index = scores.topk(num_pairs)
    query = index // num_classes
    label = index % num_classes
    return Pairs(scores, query, label)


def make_instances(
    pairs: Pairs,
    boxes: Tensor,
    masks: Tensor,
    sizes: ImageSizes,
    max_pixels: int,
    mean_boxes: bool = False,
    agreement_scores: bool = False,
    nms_iou: float | None = None,
) -> Instances:
    """Multiply the scores of pairs with the scores of their masks, and sort the pairs by the product.

    Args:
        boxes: (Q, 4) cxcywh in [0, 1] of the padded input.
        masks: (Q, h, w) logits.
        max_pixels: See :func:`binarise_masks`.
        mean_boxes: See :func:`~mask_dino.postprocess.things.average_boxes`.
        agreement_scores: Whether the scores are also multiplied with the square roots of
            :func:`~mask_dino.postprocess.things.measure_agreement`.
        nms_iou: See :func:`~mask_dino.postprocess.things.find_distinct`; without it, all pairs are kept.
    """
    # A query may be selected with several classes. Its mask is enlarged once.
    query, copy = pairs.query.unique(return_inverse=True)
    binary = torch.empty(len(copy), *sizes.output, dtype=torch.bool, device=masks.device)
    mask_scores = binarise_masks(masks, query, sizes, max_pixels, binary)
    boxes_of_queries = scale_boxes(boxes[query], sizes)
    if agreement_scores or mean_boxes:
        enclosing = enclose_masks(binary[: len(query)])
    if agreement_scores:
        mask_scores = mask_scores * measure_agreement(boxes_of_queries, enclosing).sqrt()
    if mean_boxes:
        boxes_of_queries = average_boxes(boxes_of_queries, enclosing)
    scores = pairs.scores * mask_scores[copy]
    scores, order = scores.sort(descending=True)
    copy = copy[order]
    # The masks are sorted in place and strip by strip, since they are most of the memory.
    for rows in split_rows(len(copy), sizes, max_pixels):
        binary[:, rows] = binary[:, rows][copy]
    instances = Instances(scores, pairs.labels[order], boxes_of_queries[copy], binary)
    if nms_iou is None:
        return instances
    distinct = find_distinct(instances.boxes, scores, instances.labels, nms_iou)
    return Instances(*(values[distinct] for values in instances))


def binarise_masks(
    masks: Tensor, query: Tensor, sizes: ImageSizes, max_pixels: int, out: Tensor
) -> Tensor:
    """Write binary masks into the first N maps of ``out``, and return the mean probability (N,) inside each.

    Args:
        masks: Logits (Q, h, w) of the padded input.
        query: Indices (N,) of the masks to binarise.
        max_pixels: Pixels, over all masks, of the largest float map held at once.
        out: (M, height, width) bool at the output size, M >= N.
    """
    pixels = max(sizes.padded[0] * sizes.padded[1], sizes.output[0] * sizes.output[1])
    chunk = max(1, max_pixels // pixels)
    mask_scores = masks.new_empty(len(query))
    for start in range(0, len(query), chunk):
        part = slice(start, min(start + chunk, len(query)))
        logits = enlarge_masks(masks[query[part]], sizes)
        inside = torch.gt(logits, 0, out=out[part])
        # Outside, the probability becomes 0. A product with a binary mask takes a CPU four times as long.
        probability = torch.threshold_(logits, 0.0, -math.inf).sigmoid_()
        total = probability.sum((1, 2))
        # Sums of bool and sums to int64, the default, take a CPU three times as long.
        area = inside.view(torch.uint8).flatten(1).sum(1, dtype=torch.int32)
        mask_scores[part] = total / (area + 1e-6)
    return mask_scores
