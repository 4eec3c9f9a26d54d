"""Values of feature maps and masks at points: all that matching and mask losses look at."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..structures import Targets


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


MAX_LOGITS = 2**23
"""Mask logits at candidate points that are held at once: bounds memory, changes no value."""


class MaskPoints(NamedTuple):
    """One image at the candidate points, and at the points that are taken anyway, which come last."""

    features: Tensor  # (C, S)
    masks: Tensor  # (N, S) in [0, 1]


class PointSampler(nn.Module):
    """Importance sampling of PointRend (arXiv 1912.08193), as Mask2Former and Mask DINO use it.

    Among ``num_points * oversample_ratio`` uniform candidates, each mask takes those where it is least certain. The
    original draws candidates for every mask and layer; drawing them once per image leaves every expectation as it
    is, because all masks are linear in the features, and these are then sampled once.

    Args:
        num_points: Points of each mask that enter the losses.
        oversample_ratio: Candidates per point.
        importance_sample_ratio: Share of the points that is chosen for uncertainty; the others are uniform.
    """

    def __init__(
        self, num_points: int = 12544, oversample_ratio: float = 3.0, importance_sample_ratio: float = 0.75
    ) -> None:
        super().__init__()
        self.num_candidates = int(num_points * oversample_ratio)
        self.num_uncertain = int(num_points * importance_sample_ratio)
        self.num_uniform = num_points - self.num_uncertain

    def forward(self, mask_features: Tensor, targets: list[Targets]) -> list[MaskPoints]:
        """Sample each image of mask features (B, C, h, w), and its targets."""
        samples = []
        for features, target in zip(mask_features, targets, strict=True):
            points = random_points(self.num_candidates + self.num_uniform, features.device, target.known)
            samples.append(MaskPoints(sample_features(features, points), sample_masks(target.masks, points)))
        return samples

    def pick(self, embed: Tensor, points: MaskPoints, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Return mask logits (m, num_points) of matched queries of one image, some queries at a time.

        With them go the indices (m, num_points) of their targets' values in ``points.masks``, flattened.

        Args:
            embed: Mask embeddings (M, C).
            target: Indices (M,).
        """
        parts = _Picked.apply(embed, points.features, target, self.least_certain)
        return zip(parts[::2], parts[1::2], strict=True)

    def least_certain(self, logits: Tensor) -> Tensor:
        """Return the indices (M, num_points) of the points that masks with logits (M, S) are compared at."""
        # Without their sign, floats are in the order of their bits, and integers are sorted in half the time.
        candidates = logits[:, : self.num_candidates].abs().view(torch.int32)
        uncertain = candidates.topk(self.num_uncertain, largest=False, sorted=False).indices
        uniform = torch.arange(self.num_candidates, logits.shape[1], device=logits.device)
        return torch.cat((uncertain, uniform.expand(len(logits), -1)), 1)


class _Picked(Function):
    """The product with the features at all points, of which a third is picked, without keeping the rest.

    Left to autograd, every set of predictions has a gradient of all features at all points, to be added up.
    """

    @staticmethod
    def forward(
        ctx: Any, embed: Tensor, features: Tensor, target: Tensor, choose: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, ...]:
        num_points = features.shape[1]
        size = max(1, MAX_LOGITS // num_points)
        picked = list[Tensor]()
        for rows, of in zip(embed.split(size), target.split(size), strict=True):
            everywhere = rows @ features
            index = choose(everywhere)
            picked += everywhere.gather(1, index), index.add_(of[:, None] * num_points).int()
        ctx.mark_non_differentiable(*picked[1::2])
        ctx.save_for_backward(embed, features, target, *picked[1::2])
        return tuple(picked)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        embed, features, target, *chosen = ctx.saved_tensors
        of_embed, of_features = [], torch.zeros_like(features)
        sizes = [len(index) for index in chosen]
        parts = zip(embed.split(sizes), target.split(sizes), chosen, gradients[::2], strict=True)
        for rows, of, index, gradient in parts:
            index = index.long().sub_(of[:, None] * features.shape[1])
            everywhere = rows.new_zeros(len(rows), features.shape[1]).scatter_(1, index, gradient)
            of_embed.append(everywhere @ features.T)
            of_features.addmm_(rows.T, everywhere)
        return torch.cat(of_embed), of_features, None, None
