"""The points at which mask losses look: drawn once per image, shared by all layers and queries."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..structures import Targets
from .points import random_points, sample_features, sample_masks


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

    def pick(self, embed: Tensor, points: MaskPoints, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return mask logits and target values (M, num_points) of matched queries of one image.

        Args:
            embed: Mask embeddings (M, C).
            target: Indices (M,).
        """
        logits = embed @ points.features  # (M, candidates + uniform)
        candidates = logits[:, : self.num_candidates]
        uncertain = candidates.detach().abs().topk(self.num_uncertain, largest=False, sorted=False).indices
        uniform = points.masks[:, self.num_candidates :][target]
        wanted = points.masks.take(uncertain + target[:, None] * points.masks.shape[1])
        return (
            torch.cat((candidates.gather(1, uncertain), logits[:, self.num_candidates :]), 1),
            torch.cat((wanted, uniform), 1),
        )
