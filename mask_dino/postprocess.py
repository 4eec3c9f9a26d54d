"""Predictions of one image -> results at the size of the original image."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class ImageSizes(NamedTuple):
    """The sizes (height, width) that one image goes through."""

    padded: tuple[int, int]  # what the network sees
    resized: tuple[int, int]  # without the padding
    output: tuple[int, int]  # what results are asked for at


class Instances(NamedTuple):
    """Instances of one image, by falling score."""

    scores: Tensor  # (N,) in [0, 1]
    labels: Tensor  # (N,) int64
    boxes: Tensor  # (N, 4) xyxy in pixels of the output, not clipped
    masks: Tensor  # (N, height, width) bool at the output size


def enlarge(masks: Tensor, sizes: ImageSizes) -> Tensor:
    """Bring mask logits (N, h, w) of the padded input to the output size, in the two steps of the original."""
    masks = F.interpolate(masks[None], sizes.padded, mode='bilinear', align_corners=False)
    masks = masks[..., : sizes.resized[0], : sizes.resized[1]]
    return F.interpolate(masks, sizes.output, mode='bilinear', align_corners=False)[0]


def scale_boxes(boxes: Tensor, sizes: ImageSizes) -> Tensor:
    """Bring cxcywh boxes (N, 4), fractions of the padded input, to xyxy in pixels of the output."""
    height, width = (p / r * o for p, r, o in zip(*sizes, strict=True))
    center, extent = boxes[..., :2], boxes[..., 2:]
    return torch.cat((center - extent / 2, center + extent / 2), -1) * boxes.new_tensor([width, height, width, height])


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


def instances(
    logits: Tensor, boxes: Tensor, masks: Tensor, sizes: ImageSizes, max_per_image: int, max_pixels: int
) -> Instances:
    """Rank (query, class) pairs by class probability, keep the best, and score them by their masks too.

    Args:
        logits: (Q, num_classes), of a sigmoid.
        boxes: (Q, 4) cxcywh in [0, 1] of the padded input.
        masks: (Q, h, w) logits.
        max_per_image: Pairs to keep.
        max_pixels: See :func:`binarise`.
    """
    scores = logits.sigmoid().flatten()
    scores, index = scores.topk(min(max_per_image, len(scores)))
    # A query may be kept with several classes: its mask is enlarged once.
    query, copy = (index // logits.shape[1]).unique(return_inverse=True)
    binary, quality = binarise(masks[query], sizes, max_pixels)
    scores = scores * quality[copy]
    scores, order = scores.sort(descending=True)
    copy = copy[order]
    labels = (index % logits.shape[1])[order]
    return Instances(scores, labels, scale_boxes(boxes[query], sizes)[copy], binary[copy])
