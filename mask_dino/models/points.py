"""Values of feature maps and masks at points: all that matching and mask losses look at."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def random_points(num_points: int, device: torch.device, known: Tensor | None = None) -> Tensor:
    """Return points (P, 2), xy in [0, 1), uniform over the image, or the centres of pixels that are ``known`` (H, W).

    Centres, because the value of a mask between a known and an unknown pixel would be half unknown. If nothing is
    known, the points are anywhere.
    """
    if known is None:
        return torch.rand(num_points, 2, device=device)
    height, width = known.shape
    counts = known.flatten().cumsum(0)
    # The n-th known pixel is where the count reaches n: found without telling the host how many there are.
    rank = (torch.rand(num_points, device=device, dtype=torch.double) * counts[-1]).long() + 1
    pixel = torch.searchsorted(counts, rank).clamp(max=known.numel() - 1)
    return torch.stack(((pixel % width + 0.5) / width, (pixel // width + 0.5) / height), -1)


def sample_features(features: Tensor, points: Tensor) -> Tensor:
    """Return the bilinear values (C, P) of one feature map (C, h, w) at points (P, 2), zero outside.

    Bilinear sampling and the product with mask embeddings are both linear, so that sampling the features once
    serves every query: sampled masks are ``mask_embed @ sampled features``. On a CPU, a weighted sum of whole rows is
    many times as fast as ``grid_sample``, which goes through the channels one by one.
    """
    corners = Corners.of(points, features.shape[-2:])
    rows = features.flatten(1).T.contiguous()  # (h * w, C)
    values = F.embedding_bag(corners.pixel, rows, per_sample_weights=corners.weight.type_as(rows), mode='sum')
    return values.T.contiguous()  # products with it are faster


def sample_masks(masks: Tensor, points: Tensor) -> Tensor:
    """Return the bilinear values (N, P) of binary masks (N, H, W) at points (P, 2), zero outside.

    Four look-ups per point instead of ``grid_sample``, which would need a float copy of every mask.
    """
    values = points.new_zeros(len(masks), len(points))
    for pixel, weight in zip(*(x.unbind(1) for x in Corners.of(points, masks.shape[-2:])), strict=True):
        values += masks.flatten(1)[:, pixel] * weight
    return values


class Corners(NamedTuple):
    """The four pixels around each point."""

    pixel: Tensor  # (P, 4) int64, row by row
    weight: Tensor  # (P, 4) of bilinear interpolation, zero outside of the map

    @classmethod
    def of(cls, points: Tensor, size: torch.Size) -> 'Corners':
        """Find them for points (P, 2), xy in [0, 1], in a map of ``size`` (h, w)."""
        height, width = size
        xy = points * points.new_tensor([width, height]) - 0.5
        low = xy.floor()[:, None]
        corners = low + low.new_tensor([[0, 0], [1, 0], [0, 1], [1, 1]])  # (P, 4, 2)
        x, y = corners.long().unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        weight = (1 - (xy[:, None] - corners).abs()).prod(-1) * inside
        return cls(y.clamp(0, height - 1) * width + x.clamp(0, width - 1), weight)
