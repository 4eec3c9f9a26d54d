"""Semantic results: every query votes for its classes where its mask is."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .resize import ImageSizes, enlarge_rows, strips


def sharpen(logits: Tensor, temperature: float) -> Tensor:
    """Turn logits (Q, num_classes) of a sigmoid into probabilities that compete, as the original does."""
    return (logits.sigmoid() / temperature).softmax(-1)


def label_pixels(classes: Tensor, masks: Tensor, sizes: ImageSizes, max_pixels: int) -> Tensor:
    """Return the class (height, width) of every pixel of the output, int64.

    Args:
        classes: Probabilities (Q, num_classes).
        masks: Logits (Q, h, w) of the padded input.
        max_pixels: Pixels, over all masks, of the largest float map held at once.
    """
    labels = torch.empty(sizes.output, dtype=torch.int64, device=masks.device)
    for rows, votes in _votes(classes, masks, sizes, max_pixels):
        labels[rows] = votes.max(-1).indices
    return labels


def score_pixels(classes: Tensor, masks: Tensor, sizes: ImageSizes, max_pixels: int, out: Tensor) -> None:
    """Write the score of every class at every pixel of the output into ``out`` (num_classes, height, width).

    Arguments are those of :func:`label_pixels`.
    """
    for rows, votes in _votes(classes, masks, sizes, max_pixels):
        out[:, rows] = votes.permute(2, 0, 1)


def _votes(classes: Tensor, masks: Tensor, sizes: ImageSizes, max_pixels: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield the scores (rows, width, num_classes) of rows of the output."""
    num_classes = classes.shape[1]
    classes = F.pad(classes, (0, -num_classes % 16))  # products of round sizes take a CPU two thirds of the time
    for rows in strips(max(classes.shape), sizes, max_pixels):
        yield rows, (enlarge_rows(masks, sizes, rows).sigmoid() @ classes)[..., :num_classes]
