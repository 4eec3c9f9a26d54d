"""Deformable sampling on a CPU by sums of rows and sparse products.

``grid_sample`` goes through the channels of a map one by one. Here, the channels of a pixel are one row, and every
point is a weighted sum of four rows. This takes a fifth of the time and keeps no sampled value for the backward pass.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Sizes = Sequence[Sequence[int]]  # (h, w) of each level

BORDER = 2
"""Width of the border of zeros around each map. Points outside a map are moved into this border, so that no test
whether a point is inside is needed."""


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
    batch, _, heads, channels = values.shape
    bordered = _add_borders(values, sizes)
    sum_points = _SumPoints.apply if torch.is_grad_enabled() else _sum_points
    sums: Tensor = sum_points(bordered, sizes, locations, weights)  # (B * Q * heads, C)
    return sums.view(batch, -1, heads * channels)


def _add_borders(values: Tensor, sizes: Sizes) -> Tensor:
    """Surround the maps in values (B, L, heads, C) with :data:`BORDER` zeros: (B, L', heads, C)."""
    border = (0, 0, 0, 0, BORDER, BORDER, BORDER, BORDER)  # of channels, heads, width and height
    counts = [height * width for height, width in sizes]
    levels = values.split(counts, 1)
    bordered = []
    for tokens, size in zip(levels, sizes, strict=True):
        level = tokens.unflatten(1, size)  # (B, h, w, heads, C)
        level = F.pad(level, border)
        bordered.append(level.flatten(1, 2))
    return torch.cat(bordered, 1)


def differentiate_sparse(
    values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the first, third and fourth argument of :func:`sample_sparse`.

    Args:
        gradient: Of the result, (B, Q, heads * C).
    """
    bordered = _add_borders(values, sizes)
    rows = gradient.reshape(-1, values.shape[-1])  # (B * Q * heads, C)
    gradients = _differentiate(bordered, sizes, locations, weights, rows)
    grad_bordered, grad_locations, grad_weights = gradients
    return _remove_borders(grad_bordered, sizes), grad_locations, grad_weights


def _remove_borders(bordered: Tensor, sizes: Sizes) -> Tensor:
    """Return the maps in values (B, L', heads, C) without their borders, (B, L, heads, C); see :func:`_add_borders`."""
    outer_sizes = [(height + 2 * BORDER, width + 2 * BORDER) for height, width in sizes]
    levels = bordered.split([height * width for height, width in outer_sizes], 1)
    inner = slice(BORDER, -BORDER)
    maps = [
        tokens.unflatten(1, size)[:, inner, inner].flatten(1, 2)
        for tokens, size in zip(levels, outer_sizes, strict=True)
    ]
    return torch.cat(maps, 1)


class Neighbours(NamedTuple):
    """The four pixels around each of K = V * points points, of N = B * Q * heads sums."""

    rows: Tensor  # (N, 4 * K) int32: rows of all pixels top left, all top right, all bottom left, all bottom right
    x: Tensor  # (N, K) distance of the points from the left pixels, in [0, 1]
    y: Tensor  # (N, K) distance of the points from the upper pixels, in [0, 1]

    def shares(self, weight: Tensor) -> Tensor:
        """Return what the pixels contribute to the sums (N, 4 * K), in the order of ``rows``; weight is (N, K)."""
        bottom = weight * self.y
        top = weight - bottom
        bottom_right = bottom * self.x
        top_right = top * self.x
        return torch.cat((top - top_right, top_right, bottom - bottom_right, bottom_right), 1)


def _sum_points(values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Return the sums (N, C); the maps in values have their border."""
    neighbours = _find_neighbours(values, sizes, locations)
    shares = neighbours.shares(weights.reshape(neighbours.x.shape))
    rows = values.flatten(0, 2)  # (B * L' * heads, C)
    return F.embedding_bag(neighbours.rows, rows, per_sample_weights=shares, mode='sum')


class _SumPoints(Function):
    """:func:`_sum_points` that keeps only its arguments for the backward pass.

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
        ctx.sizes = sizes
        ctx.save_for_backward(values, locations, weights)
        return _sum_points(values, sizes, locations, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        values, locations, weights = ctx.saved_tensors
        gradients = _differentiate(values, ctx.sizes, locations, weights, gradient)
        grad_values, grad_locations, grad_weights = gradients
        return grad_values, None, grad_locations, grad_weights


def _differentiate(
    values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of values, locations and weights for the gradient (N, C) of the sums."""
    neighbours = _find_neighbours(values, sizes, locations)
    rows, x, y = neighbours
    weight = weights.reshape(x.shape)  # (N, K)
    num_rows = values.shape[:3].numel()
    grad_values = _scatter_gradient(rows, neighbours.shares(weight), gradient, num_rows)

    p00, p01, p10, p11 = _multiply_rows(rows, gradient, values).chunk(4, 1)  # (N, K) each
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


def _find_neighbours(values: Tensor, sizes: Sizes, locations: Tensor) -> Neighbours:
    """Return the pixels around all points; pixel p of image b and head h is row (b * L' + p) * heads + h."""
    batch, length, heads, _ = values.shape
    points = locations.shape[-2]
    size = torch.tensor(sizes)  # (V, 2)
    height, width = size.T.repeat_interleave(points, 1)  # (K,) each
    x_locations, y_locations = locations.flatten(-3, -2).unbind(-1)  # (B, Q, heads, K) each
    left, x = _split_pixels(x_locations, width)
    upper, y = _split_pixels(y_locations, height)

    line = width + 2 * BORDER  # pixels of a line
    area = (size + 2 * BORDER).prod(1)
    level_start = (area.cumsum(0) - area).repeat_interleave(points)  # (K,)
    image_start = torch.arange(batch) * length
    first_pixel = image_start.view(-1, 1, 1, 1) + level_start  # (B, 1, 1, K)
    head = torch.arange(heads)[:, None]
    first_row = first_pixel * heads + head  # (B, 1, heads, K)
    # float32 holds the number of a pixel within its level exactly, but not every number of a row.
    pixel = (upper * line + left).int()
    top_left = first_row.int().add(pixel, alpha=heads)  # (B, Q, heads, K)
    top_left = top_left.flatten(0, 2)  # (N, K)
    bottom_left = top_left + (line * heads).int()
    rows = torch.cat((top_left, top_left + heads, bottom_left, bottom_left + heads), 1)
    return Neighbours(rows, x.flatten(0, 2), y.flatten(0, 2))


def _split_pixels(locations: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixel before each point, counted from the start of the border, and the distance to it in pixels."""
    pixels = (locations * size).sub_(0.5 - BORDER)
    # NaN also goes into the border, so that it never becomes the number of a row.
    pixels = pixels.nan_to_num_().clamp_(min=0).minimum(size + float(BORDER))
    before = pixels.floor()
    return before, pixels.sub_(before)


def _multiply_rows(rows: Tensor, gradient: Tensor, values: Tensor) -> Tensor:
    """Return the products (N, 4 * K) of each sum's gradient (N, C) with the rows of ``values`` that it is made of.

    Row numbers are the columns of a sparse matrix with N lines. ``sampled_addmm`` computes gradient @ rows.T only
    where this matrix has entries, and needs a third of the time of ``embedding_bag``'s own backward pass.
    """
    num_sums, per_sum = rows.shape
    all_rows = values.flatten(0, 2)  # (B * L' * heads, C)
    line_starts = torch.arange(num_sums + 1, dtype=rows.dtype) * per_sum
    zeros = gradient.new_zeros(rows.numel())
    shape = (num_sums, all_rows.shape[0])
    with warnings.catch_warnings():
        # torch calls this layout a beta feature.
        warnings.filterwarnings('ignore', 'Sparse', UserWarning)
        pattern = torch.sparse_csr_tensor(
            line_starts, rows.flatten(), zeros, shape, check_invariants=False
        )
        # In place, without a copy of the row numbers.
        torch.sparse.sampled_addmm(pattern, gradient, all_rows.T, out=pattern)
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
