"""The points of an image at which masks are compared: matching and mask losses look at nothing else."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..structures import Targets
from .interpolation import Corners, sample_features, sample_masks
from .smallest import find_smallest


class MaskPoints(NamedTuple):
    """Features and masks of one image at the candidate points, followed by the uniform points.

    Where the map of features has fewer pixels than there are points, it stands for the features at the points:
    products with it take less time, and their values are interpolated.
    """

    features: Tensor  # (C, S) at the points, or (C, h * w) at all pixels
    corners: Corners | None  # of the points, where the features are those of all pixels
    masks: Tensor  # (N, S) in [0, 1]


class PointSampler(nn.Module):
    """Importance sampling of PointRend (arXiv 1912.08193), as Mask2Former and Mask DINO use it.

    Among ``num_points * oversample_ratio`` uniform candidates, each mask takes those where it is least certain. The
    original draws candidates for every mask and layer. Here they are drawn once per image and the features are sampled
    once. This changes no expectation, because all masks are linear in the features.

    Args:
        num_points: Points of each mask that enter the losses.
        oversample_ratio: Candidates per point.
        importance_sample_ratio: Share of the points that is chosen for uncertainty; the others are uniform.
    """

    def __init__(
        self,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
    ) -> None:
        super().__init__()
        self.num_candidates = int(num_points * oversample_ratio)
        self.num_uncertain = int(num_points * importance_sample_ratio)
        self.num_uniform = num_points - self.num_uncertain

    def forward(self, mask_features: Tensor, targets: list[Targets]) -> list[MaskPoints]:
        """Sample each image of mask features (B, C, h, w), and its targets."""
        num_points = self.num_candidates + self.num_uniform
        samples = []
        for features, target in zip(mask_features, targets, strict=True):
            points = random_points(num_points, features.device, target.known)
            masks = sample_masks(target.masks, points)
            if keeps_map(features, num_points):
                corners = Corners.around(points, features.shape[-2:])
                samples.append(MaskPoints(features.flatten(1), corners, masks))
            else:
                samples.append(MaskPoints(sample_features(features, points), None, masks))
        return samples

    def choose_points(self, logits: Tensor) -> Tensor:
        """Return the indices (M, num_points) of the points at which masks with logits (M, S) are compared."""
        candidates = logits[:, : self.num_candidates].abs()
        uncertain = find_smallest(candidates, self.num_uncertain)
        num_masks, num_points = logits.shape
        uniform = torch.arange(self.num_candidates, num_points, device=logits.device)
        return torch.cat((uncertain, uniform.expand(num_masks, -1)), 1)


def keeps_map(features: Tensor, num_points: int) -> bool:
    """Return whether logits at points are interpolated between those of all pixels of a map (C, h, w).

    On a GPU, products take little time.
    """
    return features.is_cpu and features[0].numel() < num_points


def random_points(num_points: int, device: torch.device, known: Tensor | None = None) -> Tensor:
    """Return points (P, 2), xy in [0, 1), uniform over the image, or the centres of pixels that are ``known`` (H, W).

    Centres, because the value of a mask between a known and an unknown pixel would be half unknown. If nothing is
    known, the points are anywhere.
    """
    if known is None:
        return torch.rand(num_points, 2, device=device)
    height, width = known.shape
    counts = known.flatten().cumsum(0)
    # The n-th known pixel is where the count reaches n. The host need not know how many there are.
    rank = (torch.rand(num_points, device=device, dtype=torch.double) * counts[-1]).long() + 1
    pixel = torch.searchsorted(counts, rank).clamp(max=known.numel() - 1)
    x = (pixel % width + 0.5) / width
    y = (pixel // width + 0.5) / height
    return torch.stack((x, y), -1)
