"""Deformable sampling with ``grid_sample``, which every device and every program that runs exported files has."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def sample_grid(
    values: Tensor, sizes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Return weighted sums (B, Q, heads * C) of bilinear values, zero outside of the maps; see :func:`sample_sparse`.

    One level at a time, so that the sampled values of all levels are never held together. Queries come last, so that
    the sum over the points adds long rows.
    """
    batch, _, heads, channels = values.shape
    grids = locations * 2 - 1  # in [-1, 1]
    grids = grids.permute(0, 2, 3, 4, 1, 5).flatten(0, 1)  # (B * heads, V, points, Q, 2)
    weights = weights.permute(0, 2, 3, 4, 1).flatten(0, 1)  # (B * heads, V, points, Q)
    tokens_of_levels = values.split([height * width for height, width in sizes], 1)
    total = values.new_zeros(())
    for level, (height, width) in enumerate(sizes):
        tokens = tokens_of_levels[level]  # (B, h * w, heads, C)
        maps = tokens.permute(0, 2, 3, 1)
        maps = maps.reshape(batch * heads, channels, height, width)
        grid = grids[:, level]  # (B * heads, points, Q, 2)
        weight = weights[:, level, None]  # (B * heads, 1, points, Q)
        sampled = F.grid_sample(maps, grid, align_corners=False)  # (B * heads, C, points, Q)
        total = total + (sampled * weight).sum(2)
    sums = total.unflatten(0, (batch, heads))  # (B, heads, C, Q)
    return sums.flatten(1, 2).transpose(1, 2)
