"""Deformable sampling on a CPU by sums of rows and sparse products.

``grid_sample`` goes through the channels of a map one by one. Here, the channels of a pixel are one row, and every
point is a weighted sum of four rows. This takes a fifth of the time and keeps no sampled value for the backward pass.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .neighbours import Sizes, add_borders, find_neighbours, remove_borders


def sample_sparse(values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of bilinear values, zero outside of the maps, as mmcv's kernel computes them on a GPU.

    Args:
        values: (B, L, heads, C), levels one after another, row by row.
        sizes: (h, w) of each of V levels.
        locations: (B, Q, heads, V, points, 2), xy in [0, 1] of each level.
        weights: (B, Q, heads, V, points).

    Returns:
        (B, Q, heads * C).
    """
    if not torch.is_grad_enabled():
        return sum_points(add_borders(values, sizes), sizes, locations, weights)
    sums: Tensor = _SumPoints.apply(values, sizes, locations, weights)
    return sums


def differentiate_sparse(
    values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the first, third and fourth argument of :func:`sample_sparse`.

    Args:
        gradient: Of the result, (B, Q, heads * C).
    """
    bordered = add_borders(values, sizes)
    gradients = _differentiate(bordered, sizes, locations, weights, gradient)
    grad_bordered, grad_locations, grad_weights = gradients
    return remove_borders(grad_bordered, sizes), grad_locations, grad_weights


def sum_points(values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Return the sums (B, Q, heads * C) of :func:`sample_sparse`, for values (B, L', heads, C) with their borders."""
    batch, _, heads, channels = values.shape
    rows = values.flatten(0, 2)  # (B * L' * heads, C)
    parts = []
    for locations_of_part, weights_of_part in _split_queries(locations, weights):
        neighbours = find_neighbours(values, sizes, locations_of_part)
        shares = neighbours.shares(weights_of_part.reshape(neighbours.x.shape))
        sums = F.embedding_bag(neighbours.rows, rows, per_sample_weights=shares, mode='sum')
        parts.append(sums.view(batch, -1, heads * channels))
    return torch.cat(parts, 1)


MAX_NEIGHBOURS = 6 * 2**20
"""Neighbours whose rows and shares are held at once, 24 MB each: bounds memory, changes no value. glibc gives buffers
above 32 MB back to the system after each use, and getting them anew takes longer than filling them."""


def _split_queries(locations: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield tensors (B, q, ...) of some queries, from locations (B, Q, ...) and others (B, Q, ...)."""
    num_queries = max(1, locations.shape[1])
    num_neighbours = 2 * locations.numel()  # four for each x and y
    per_query = max(1, num_neighbours // num_queries)
    size = max(1, MAX_NEIGHBOURS // per_query)
    parts = [x.split(size, 1) for x in (locations, *others)]
    yield from zip(*parts, strict=True)


class _SumPoints(Function):
    """:func:`sum_points` of values without borders, which keeps only its arguments for the backward pass.

    A point with weight a lies between the pixels v00 (top left), v01 (top right), v10 (bottom left) and v11 (bottom
    right), at a distance of x from the left ones and y from the upper ones. g (C,) is the gradient of its sum, and
    pij = <vij, g>. With lerp(p, q, t) = p + t * (q - p):

    - value: a * lerp(lerp(v00, v01, x), lerp(v10, v11, x), y) = sum of sij * vij with the shares
      s00 = a * (1 - x) * (1 - y), s01 = a * x * (1 - y), s10 = a * (1 - x) * y, s11 = a * x * y
    - d/dvalue: sij * g, added to row ij
    - d/dweight: lerp(lerp(p00, p01, x), lerp(p10, p11, x), y)
    - d/dlocation: (width * d/dx, height * d/dy), because x and y are in pixels and locations in fractions, where
      d/dx = a * lerp(p01 - p00, p11 - p10, y) and d/dy = a * (lerp(p10, p11, x) - lerp(p00, p01, x))
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor
    ) -> Tensor:
        bordered = add_borders(values, sizes)
        ctx.sizes = sizes
        ctx.save_for_backward(bordered, locations, weights)
        return sum_points(bordered, sizes, locations, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        bordered, locations, weights = ctx.saved_tensors
        gradients = _differentiate(bordered, ctx.sizes, locations, weights, gradient)
        grad_bordered, grad_locations, grad_weights = gradients
        return remove_borders(grad_bordered, ctx.sizes), None, grad_locations, grad_weights


def _differentiate(
    values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of values, locations and weights for the gradient (B, Q, heads * C) of the sums."""
    grad_values: Tensor | None = None
    grad_locations, grad_weights = [], []
    for part in _split_queries(locations, weights, gradient):
        of_values, of_locations, of_weights = _differentiate_part(values, sizes, *part)
        grad_values = of_values if grad_values is None else grad_values.add_(of_values)
        grad_locations.append(of_locations)
        grad_weights.append(of_weights)
    assert grad_values is not None  # there is a part, also without queries
    return grad_values, torch.cat(grad_locations, 1), torch.cat(grad_weights, 1)


def _differentiate_part(
    values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of values, locations and weights for some queries."""
    gradient = gradient.reshape(-1, values.shape[-1])  # (N, C)
    neighbours = find_neighbours(values, sizes, locations)
    rows, x, y = neighbours
    weight = weights.reshape(x.shape)  # (N, K)
    num_rows = values.shape[:3].numel()
    shares = neighbours.shares(weight)
    grad_values = _scatter_gradient(rows, shares, gradient, num_rows)

    products = _multiply_rows(rows, gradient, values, memory=shares)
    p00, p01, p10, p11 = products.chunk(4, 1)  # (N, K) each
    top = torch.lerp(p00, p01, x)
    bottom = torch.lerp(p10, p11, x)
    grad_weights = torch.lerp(top, bottom, y)
    grad_x = torch.lerp(p01 - p00, p11 - p10, y)
    grad_y = bottom - top
    points = locations.shape[-2]
    height, width = torch.tensor(sizes).repeat_interleave(points, 0).T  # (K,) each
    grad_locations = torch.stack((grad_x * weight * width, grad_y * weight * height), -1)
    return (
        grad_values.view_as(values),
        grad_locations.view_as(locations),
        grad_weights.view_as(weights),
    )


def _multiply_rows(rows: Tensor, gradient: Tensor, values: Tensor, memory: Tensor) -> Tensor:
    """Return the products (N, 4 * K) of each sum's gradient (N, C) with the rows of ``values`` that it is made of.

    They are written to ``memory``, which has their shape and holds finite numbers.

    Row numbers are the columns of a sparse matrix with N lines. ``sampled_addmm`` computes gradient @ rows.T only
    where this matrix has entries, and needs a third of the time of ``embedding_bag``'s own backward pass.
    """
    num_sums, per_sum = rows.shape
    all_rows = values.flatten(0, 2)  # (B * L' * heads, C)
    line_starts = torch.arange(num_sums + 1, dtype=rows.dtype) * per_sum
    shape = (num_sums, all_rows.shape[0])
    with warnings.catch_warnings():
        # torch calls this layout a beta feature.
        warnings.filterwarnings('ignore', 'Sparse', UserWarning)
        pattern = torch.sparse_csr_tensor(
            line_starts, rows.flatten(), memory.flatten(), shape, check_invariants=False
        )
        # In place, without a copy of the row numbers.
        torch.sparse.sampled_addmm(pattern, gradient, all_rows.T, beta=0, out=pattern)
    return pattern.values().view_as(rows)


def _scatter_gradient(rows: Tensor, shares: Tensor, gradient: Tensor, num_rows: int) -> Tensor:
    """Return the gradient (num_rows, C) of all rows: shares.T @ gradient (N, C) with shares as a sparse matrix.

    scipy's product needs a third of the time of ``embedding_bag``'s own backward pass.
    """
    num_sums, per_sum = rows.shape
    line_starts = np.arange(num_sums + 1, dtype=np.int32) * per_sum
    values = shares.flatten().numpy()
    columns = rows.flatten().numpy()
    matrix = csr_array((values, columns, line_starts), shape=(num_sums, num_rows))
    product = matrix.T @ gradient.numpy()
    return torch.from_numpy(product)
