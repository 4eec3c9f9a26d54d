"""Bilinear values of feature maps and masks at points."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from torch import Tensor


def sample_features(features: Tensor, points: Tensor) -> Tensor:
    """Return the bilinear values (C, P) of one feature map (C, h, w) at points (P, 2), zero outside.

    Bilinear sampling and the product with mask embeddings are both linear. Features that are sampled once therefore
    serve every query: sampled masks are ``mask_embed @ sampled features``.
    """
    return Corners.around(points, features.shape[-2:]).interpolate(features.flatten(1))


def sample_masks(masks: Tensor, points: Tensor) -> Tensor:
    """Return the bilinear values (N, P) of binary masks (N, H, W) at points (P, 2), zero outside.

    Four look-ups per point instead of ``grid_sample``, which would need a float copy of every mask.
    """
    corners = Corners.around(points, masks.shape[-2:])
    pixels = masks.flatten(1)  # (N, H * W)
    values = points.new_zeros(masks.shape[0], points.shape[0])
    for corner in range(4):
        index = corners.pixel[:, corner]
        weight = corners.weight[:, corner]
        values += pixels[:, index] * weight
    return values


class Corners(NamedTuple):
    """The four pixels around each point."""

    pixel: Tensor  # (P, 4) int64, row by row
    weight: Tensor  # (P, 4) of bilinear interpolation, zero outside of the map

    @classmethod
    def around(cls, points: Tensor, size: torch.Size) -> 'Corners':
        """Find the corners of points (P, 2), xy in [0, 1], in a map of ``size`` (h, w)."""
        height, width = size
        x, y = points.unbind(-1)
        x = (x * width - 0.5)[:, None]  # in pixels
        y = (y * height - 0.5)[:, None]
        left = x.floor()
        upper = y.floor()
        corner_x = torch.cat((left, left + 1, left, left + 1), 1)  # (P, 4)
        corner_y = torch.cat((upper, upper, upper + 1, upper + 1), 1)
        weight = (1 - (x - corner_x).abs()) * (1 - (y - corner_y).abs())
        column = corner_x.long()
        row = corner_y.long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        pixel = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        return cls(pixel, weight * inside)

    def interpolate(self, maps: Tensor) -> Tensor:
        """Return the bilinear values (C, P) of maps (C, h * w) at the points.

        On a CPU, a weighted sum of whole rows is many times as fast as ``grid_sample``, which goes through the channels
        one by one.
        """
        rows = maps.T.contiguous()  # (h * w, C)
        weight = self.weight.type_as(rows)
        values = F.embedding_bag(self.pixel, rows, per_sample_weights=weight, mode='sum')  # (P, C)
        return values.T.contiguous()  # products with it are faster

    def spread(self, gradient: Tensor, num_pixels: int) -> Tensor:
        """Return the gradient (C, h * w) of maps, given that of their values (C, P) at the points; on a CPU."""
        num_points, per_point = self.pixel.shape
        line_starts = np.arange(num_points + 1) * per_point
        entries = (self.weight.flatten().numpy(), self.pixel.flatten().numpy(), line_starts)
        interpolation = csr_array(entries, shape=(num_points, num_pixels))
        rows = interpolation.T @ gradient.T.contiguous().numpy()  # (h * w, C)
        return torch.from_numpy(rows).T
