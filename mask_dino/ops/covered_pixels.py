"""The pixels that masks cover, without the logits of whole maps."""

import torch
from torch import Tensor

from .tracing import is_traced

PIXELS_AT_ONCE = 2048
"""Pixels whose logits are held at once on a CPU, where they stay in the cache; changes no value."""


def find_covered_pixels(embed: Tensor, features: Tensor) -> Tensor:
    """Return where mask logits are positive: (B, Q, h, w) bool, for embeddings (B, Q, C) and features (B, C, h, w)."""
    pixels = features.flatten(2)
    if is_traced() or not features.is_cpu:
        covered = embed @ pixels > 0
    else:
        parts = [embed @ part > 0 for part in pixels.split(PIXELS_AT_ONCE, 2)]
        covered = torch.cat(parts, 2)
    return covered.unflatten(2, features.shape[-2:])
