"""Instance results: pairs of query and class, ranked before any mask is enlarged."""

from typing import NamedTuple

import torch
from torch import Tensor

from .sizes import ImageSizes, enlarge, scale_boxes


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
    binary, quality = binarise(masks[query], sizes, max_pixels)
    scores, order = (pairs.scores * quality[copy]).sort(descending=True)
    copy = copy[order]
    return Instances(scores, pairs.labels[order], scale_boxes(boxes[query], sizes)[copy], binary[copy])


def binarise(masks: Tensor, sizes: ImageSizes, max_pixels: int) -> tuple[Tensor, Tensor]:
    """Return binary masks (N, height, width) at the output size, and the mean probability (N,) inside each.

    Args:
        masks: Logits (N, h, w) of the padded input.
        max_pixels: Pixels, over all masks, of the largest float map held at once.
    """
    chunk = max(1, max_pixels // max(sizes.padded[0] * sizes.padded[1], sizes.output[0] * sizes.output[1]))
    binary = torch.empty(len(masks), *sizes.output, dtype=torch.bool, device=masks.device)
    quality = masks.new_empty(len(masks))
    for start in range(0, len(masks), chunk):
        part = slice(start, start + chunk)
        logits = enlarge(masks[part], sizes)
        inside = torch.gt(logits, 0, out=binary[part])
        quality[part] = (logits.sigmoid_() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
    return binary, quality
