"""Multi-scale sampling on a CPU: a product with a sparse matrix that holds four neighbours of every place."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Sizes = Sequence[Sequence[int]]

BORDER = 2
"""Zeros around each map. Places beyond are moved to where all four neighbours are zeros: nobody asks who is inside."""


def sample_maps(values: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of bilinear values, zero outside of the maps: what mmcv's kernel computes on a GPU.

    Args:
        values: (B, L, heads, C), levels one after another, row by row.
        shapes: (V, 2), height and width of each level.
        locations: (B, Q, heads, V, points, 2), xy in [0, 1] of each of V levels.
        weights: (B, Q, heads, V, points).

    Returns:
        (B, Q, heads * C).
    """
    sizes = shapes.tolist()
    maps = zip(values.split([h * w for h, w in sizes], 1), sizes, strict=True)
    around = (0, 0, 0, 0) + (BORDER,) * 4
    bordered = torch.cat([F.pad(x.unflatten(1, size), around).flatten(1, 2) for x, size in maps], 1)
    sample = _WeightedSums.apply if torch.is_grad_enabled() else weighted_sums
    sums: Tensor = sample(bordered, sizes, locations, weights)
    return sums.view(len(values), -1, values.shape[2] * values.shape[3])


def weighted_sums(values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Return the sums (B * Q * heads, C); maps have their border here, see :func:`sample_maps`."""
    index, across, down = _neighbours(values, sizes, locations)
    shares = _shares(across, down, weights.reshape(across.shape))
    return F.embedding_bag(index, values.flatten(0, 2), per_sample_weights=shares, mode='sum')


class _WeightedSums(Function):
    """:func:`weighted_sums`, which keeps nothing but what it is given for the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
        ctx.sizes = sizes
        ctx.save_for_backward(values, locations, weights)
        return weighted_sums(values, sizes, locations, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        values, locations, weights = ctx.saved_tensors
        index, across, down = _neighbours(values, ctx.sizes, locations)
        weight = weights.reshape(across.shape)
        of_values = _gradient_of_rows(index, _shares(across, down, weight), gradient, values.shape[:3].numel())
        of_shares = _gradient_of_shares(index, gradient, values).unflatten(1, (4, -1))
        top_left, top_right, bottom_left, bottom_right = of_shares.unbind(1)
        top, bottom = torch.lerp(top_left, top_right, across), torch.lerp(bottom_left, bottom_right, across)
        slope = torch.stack((torch.lerp(top_right - top_left, bottom_right - bottom_left, down), bottom - top), -1)
        per_pixel = (slope * weight[..., None]).view_as(locations)
        of_locations = per_pixel * per_pixel.new_tensor(ctx.sizes).flip(1)[:, None]
        return of_values.view_as(values), None, of_locations, torch.lerp(top, bottom, down).view_as(weights)


def _neighbours(values: Tensor, sizes: Sizes, locations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of the four pixels around every place, and how far it is from the left and from the upper ones.

    Rows are (N, 4 * V * points) int32, distances (N, V * points) in [0, 1], with N = B * Q * heads.
    """
    batch, length, heads, _ = values.shape
    points = locations.shape[-2]
    size = torch.tensor(sizes)
    height, width = size.T.repeat_interleave(points, 1)  # (V * points,)
    y, down = _pixels(locations[..., 1].flatten(-2), height)
    x, across = _pixels(locations[..., 0].flatten(-2), width)
    line = width + 2 * BORDER
    area = (size + 2 * BORDER).prod(1)
    starts = (area.cumsum(0) - area).repeat_interleave(points)
    image = torch.arange(batch)[:, None, None, None] * length
    base = (starts + image) * heads + torch.arange(heads)[:, None]  # (B, 1, heads, V * points)
    # A pixel of one level is exact in float32, a row of all of them may not be.
    first = base.int().add((y * line + x).int(), alpha=heads).flatten(0, 2)
    below = (line * heads).int()
    index = torch.cat((first, first + heads, first + below, first + (below + heads)), 1)
    return index, across.flatten(0, 2), down.flatten(0, 2)


def _pixels(locations: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixel before each place, counted with the border, and how far behind it the place is."""
    pixels = (locations * size).sub_(0.5 - BORDER)
    # fmax takes NaN, too, to the border: it must not become the number of a row.
    pixels = pixels.fmax(pixels.new_zeros(())).minimum(size + float(BORDER))
    before = pixels.floor()
    return before, pixels.sub_(before)


def _shares(across: Tensor, down: Tensor, weight: Tensor) -> Tensor:
    """Return what the four neighbours of every place contribute (N, 4 * V * points), in the order of their rows."""
    bottom = weight * down
    top = weight - bottom
    bottom_right, top_right = bottom * across, top * across
    return torch.cat((top - top_right, top_right, bottom - bottom_right, bottom_right), 1)


def _gradient_of_shares(index: Tensor, gradient: Tensor, values: Tensor) -> Tensor:
    """Return products of the gradient (N, C) with the rows that were summed, in a third of ``embedding_bag``'s time."""
    count, size = index.shape
    rows = values.flatten(0, 2)
    starts = torch.arange(count + 1, dtype=index.dtype) * size
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse', UserWarning)  # that sparse matrices of this kind are new
        nothing = gradient.new_zeros(index.numel())
        bags = torch.sparse_csr_tensor(starts, index.flatten(), nothing, (count, len(rows)), check_invariants=False)
        products: Tensor = torch.sparse.sampled_addmm(bags, gradient, rows.T).values()
    return products.view_as(index)


def _gradient_of_rows(index: Tensor, shares: Tensor, gradient: Tensor, num_rows: int) -> Tensor:
    """Return the sums of the gradient (N, C) over the places of every row, in a third of ``embedding_bag``'s time."""
    count, size = index.shape
    starts = np.arange(count + 1, dtype=np.int32) * size
    bags = csr_array((shares.flatten().numpy(), index.flatten().numpy(), starts), shape=(count, num_rows))
    return torch.from_numpy(bags.T @ gradient.numpy())
