"""Semantic results: every query votes for its classes at the pixels of its mask."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .resize import ImageSizes, enlarge_rows, split_rows

TEMPERATURE = 0.06
"""Of :func:`sharpen_classes` for a semantic model whose ``test_cfg`` names none, as in the original."""


def sharpen_classes(logits: Tensor, temperature: float) -> Tensor:
    """Turn logits (..., num_classes) of a sigmoid into probabilities that sum to 1, as the original does."""
    return (logits.sigmoid() / temperature).softmax(-1)


def label_pixels(classes: Tensor, masks: Tensor, sizes: ImageSizes, max_pixels: int) -> Tensor:
    """Return the class (height, width) int64 of every pixel of the output.

    Args:
        classes: Probabilities (Q, num_classes).
        masks: Logits (Q, h, w) of the padded input.
        max_pixels: Pixels, over all masks, of the largest float map held at once.
    """
    labels = torch.empty(sizes.output, dtype=torch.int64, device=masks.device)
    for rows, votes in _count_votes(classes, masks, sizes, max_pixels):
        labels[rows] = votes.max(-1).indices
    return labels


def score_pixels(
    classes: Tensor, masks: Tensor, sizes: ImageSizes, max_pixels: int, out: Tensor
) -> None:
    """Write the score of every class at every pixel of the output into ``out``.

    The other arguments are the same as for :func:`label_pixels`.

    Args:
        out: (K, height, width) for K classes.
    """
    for rows, votes in _count_votes(classes, masks, sizes, max_pixels):
        out[:, rows] = votes.permute(2, 0, 1)


def _count_votes(
    classes: Tensor, masks: Tensor, sizes: ImageSizes, max_pixels: int
) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of the output and the scores (rows, width, num_classes) of their pixels."""
    num_classes = classes.shape[1]
    # A multiple of 16 classes: with round sizes, a product takes a CPU two thirds of the time.
    padded_classes = F.pad(classes, (0, -num_classes % 16))
    for rows in split_rows(max(padded_classes.shape), sizes, max_pixels):
        probability = enlarge_rows(masks, sizes, rows).sigmoid()  # (rows, width, Q)
        votes = probability @ padded_classes
        yield rows, votes[..., :num_classes]
