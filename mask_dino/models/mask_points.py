"""The points at which mask losses look: drawn once per image, shared by all layers and queries."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..structures import Targets
from .points import random_points, sample_features, sample_masks

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
