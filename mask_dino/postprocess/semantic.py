"""Semantic results: every query votes for its classes where its mask is."""

import torch
from torch import Tensor

from .sizes import ImageSizes, enlarge_rows, strips


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
    for rows in strips(max(classes.shape), sizes, max_pixels):
        votes = torch.einsum('qc,qhw->chw', classes, enlarge_rows(masks, sizes, rows).sigmoid_())
        labels[rows] = votes.argmax(0)
    return labels
