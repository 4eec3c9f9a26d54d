"""The pixels around the points that deformable attention samples."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Sizes = Sequence[Sequence[int]]  # (h, w) of each level

BORDER = 2
"""Width of the border of zeros around each map. Points outside a map are moved into this border, so that no test
whether a point is inside is needed."""
INNER = slice(BORDER, -BORDER)


def add_borders(values: Tensor, sizes: Sizes) -> Tensor:
    """Surround the maps in values (B, L, heads, C) with :data:`BORDER` zeros: (B, L', heads, C)."""
    batch, _, heads, channels = values.shape
    length = sum(count_pixels(outer_sizes(sizes)))
    bordered = values.new_empty(batch, length, heads, channels)
    levels = values.split(count_pixels(sizes), 1)
    for tokens, whole in zip(levels, bordered_maps(bordered, sizes), strict=True):
        inner = whole[:, INNER, INNER]
        inner.copy_(tokens.reshape(inner.shape))
        _clear_border(whole)
    return bordered


def _clear_border(whole: Tensor) -> None:
    """Set the border of a map (B, h + 2 * BORDER, w + 2 * BORDER, heads, C) to zero."""
    for side in (slice(None, BORDER), slice(-BORDER, None)):
        whole[:, side] = 0
        whole[:, INNER, side] = 0


def remove_borders(bordered: Tensor, sizes: Sizes) -> Tensor:
    """Return the maps in values (B, L', heads, C) without their borders, (B, L, heads, C); see :func:`add_borders`."""
    counts = count_pixels(sizes)
    batch, _, heads, channels = bordered.shape
    values = bordered.new_empty(batch, sum(counts), heads, channels)
    for tokens, whole in zip(values.split(counts, 1), bordered_maps(bordered, sizes), strict=True):
        inner = whole[:, INNER, INNER]
        tokens.view(inner.shape).copy_(inner)
    return values


def bordered_maps(bordered: Tensor, sizes: Sizes) -> list[Tensor]:
    """Return views (B, h + 2 * BORDER, w + 2 * BORDER, heads, C) of the maps in values (B, L', heads, C)."""
    sizes = outer_sizes(sizes)
    levels = bordered.split(count_pixels(sizes), 1)
    return [tokens.unflatten(1, size) for tokens, size in zip(levels, sizes, strict=True)]


def outer_sizes(sizes: Sizes) -> Sizes:
    """Return the sizes of maps with their borders."""
    return [(height + 2 * BORDER, width + 2 * BORDER) for height, width in sizes]


def count_pixels(sizes: Sizes) -> list[int]:
    """Return the number of pixels of each map."""
    return [height * width for height, width in sizes]


class Neighbours(NamedTuple):
    """The four pixels around each of K = V * points points, of N = B * Q * heads sums."""

    rows: Tensor  # (N, 4 * K) int32: rows of all pixels top left, all top right, all bottom left, all bottom right
    x: Tensor  # (N, K) distance of the points from the left pixels, in [0, 1]
    y: Tensor  # (N, K) distance of the points from the upper pixels, in [0, 1]

    def shares(self, weight: Tensor) -> Tensor:
        """Return what the pixels contribute to the sums (N, 4 * K), in the order of ``rows``; weight is (N, K)."""
        num_sums, num_points = weight.shape
        shares = weight.new_empty(num_sums, 4, num_points)
        top_left, top_right, bottom_left, bottom_right = shares.unbind(1)
        bottom = weight * self.y
        top = weight - bottom
        torch.mul(top, self.x, out=top_right)
        torch.sub(top, top_right, out=top_left)
        torch.mul(bottom, self.x, out=bottom_right)
        torch.sub(bottom, bottom_right, out=bottom_left)
        return shares.flatten(1)


def find_neighbours(values: Tensor, sizes: Sizes, locations: Tensor) -> Neighbours:
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
    below = (line * heads).int()  # (K,)
    right = torch.full_like(below, heads)
    steps = torch.stack((torch.zeros_like(below), right, below, below + right))  # (4, K)
    rows = top_left.flatten(0, 2)[:, None] + steps  # (N, 4, K)
    return Neighbours(rows.flatten(1), x.flatten(0, 2), y.flatten(0, 2))


def _split_pixels(locations: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixel before each point, counted from the start of the border, and the distance to it in pixels."""
    pixels = (locations * size).sub_(0.5 - BORDER)
    # NaN also goes into the border, so that it never becomes the number of a row.
    pixels = pixels.nan_to_num_().clamp_(min=0).minimum(size + float(BORDER))
    before = pixels.floor()
    return before, pixels.sub_(before)
