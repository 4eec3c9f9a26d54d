"""Instance results: pairs of query and class, ranked before any mask is enlarged."""

from typing import NamedTuple

import torch
from torch import Tensor

from .resize import ImageSizes, enlarge, scale_boxes, strips


class Pairs(NamedTuple):
    """Pairs of a query and a class."""

    scores: Tensor  # (N,) class probabilities
    query: Tensor  # (N,) indices
    labels: Tensor  # (N,) int64

    def where(self, chosen: Tensor) -> 'Pairs':
        """Keep the pairs that are chosen (N,) bool."""
        return Pairs(*(x[chosen] for x in self))


class Instances(NamedTuple):
    """Instances of one image, by falling score."""

    scores: Tensor  # (N,) in [0, 1]
    labels: Tensor  # (N,) int64
    boxes: Tensor  # (N, 4) xyxy in pixels of the output, not clipped
    masks: Tensor  # (N, height, width) bool at the output size


def best_pairs(logits: Tensor, max_pairs: int) -> Pairs:
    """Return the pairs of highest class probability, the best first, of logits (Q, num_classes) of a sigmoid."""
    scores = logits.sigmoid().flatten()
    scores, index = scores.topk(min(max_pairs, len(scores)))
    return Pairs(scores, index // logits.shape[1], index % logits.shape[1])


def instances(pairs: Pairs, boxes: Tensor, masks: Tensor, sizes: ImageSizes, max_pixels: int) -> Instances:
    """Score pairs by their masks too, and sort them.

    Args:
        boxes: (Q, 4) cxcywh in [0, 1] of the padded input.
        masks: (Q, h, w) logits.
        max_pixels: See :func:`binarise`.
    """
    # A query may be kept with several classes: its mask is enlarged once.
    query, copy = pairs.query.unique(return_inverse=True)
    binary = torch.empty(len(copy), *sizes.output, dtype=torch.bool, device=masks.device)
    quality = binarise(masks, query, sizes, max_pixels, binary)
    scores, order = (pairs.scores * quality[copy]).sort(descending=True)
    copy = copy[order]
    for rows in strips(len(copy), sizes, max_pixels):  # in place, since these maps are most of the memory
        binary[:, rows] = binary[:, rows][copy]
    return Instances(scores, pairs.labels[order], scale_boxes(boxes[query], sizes)[copy], binary)


def binarise(masks: Tensor, query: Tensor, sizes: ImageSizes, max_pixels: int, out: Tensor) -> Tensor:
    """Write binary masks into the first maps of ``out``, and return the mean probability (N,) inside each.

    Args:
        masks: Logits (Q, h, w) of the padded input.
        query: Which of them are wanted, (N,) indices.
        max_pixels: Pixels, over all masks, of the largest float map held at once.
        out: (M, height, width) bool at the output size, M >= N.
    """
    chunk = max(1, max_pixels // max(sizes.padded[0] * sizes.padded[1], sizes.output[0] * sizes.output[1]))
    quality = masks.new_empty(len(query))
    for start in range(0, len(query), chunk):
        part = slice(start, min(start + chunk, len(query)))
        logits = enlarge(masks[query[part]], sizes)
        inside = torch.gt(logits, 0, out=out[part])
        quality[part] = logits.sigmoid_().mul_(inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
    return quality
