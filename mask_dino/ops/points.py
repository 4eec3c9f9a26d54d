"""Values of feature maps and masks at points: matching and mask losses look at nothing else."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..structures import Targets


class MaskPoints(NamedTuple):
    """Features and masks of one image at the candidate points, followed by the uniform points."""

    features: Tensor  # (C, S)
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
            samples.append(
                MaskPoints(sample_features(features, points), sample_masks(target.masks, points))
            )
        return samples

    def choose_points(self, logits: Tensor) -> Tensor:
        """Return the indices (M, num_points) of the points at which masks with logits (M, S) are compared."""
        candidates = logits[:, : self.num_candidates].abs()
        uncertain = find_smallest(candidates, self.num_uncertain)
        num_masks, num_points = logits.shape
        uniform = torch.arange(self.num_candidates, num_points, device=logits.device)
        return torch.cat((uncertain, uniform.expand(num_masks, -1)), 1)


def find_smallest(values: Tensor, count: int) -> Tensor:
    """Return the indices (M, count) of the smallest values in each row of non-negative float32 values (M, S)."""
    # Non-negative floats sort like their bits read as int32, and topk on int32 takes half the time.
    bits = values.view(torch.int32)
    if values.is_cpu and torch.get_num_threads() <= MAX_THREADS_OF_PARTITION:
        chosen = partition_rows(bits, count)
        if chosen is not None:
            return chosen
    return bits.topk(count, largest=False, sorted=False).indices


MAX_THREADS_OF_PARTITION = 4
"""Threads up to which numpy's partition, which uses one thread, is faster than topk."""


def partition_rows(values: Tensor, count: int) -> Tensor | None:
    """Return the indices (M, count), ascending, of the smallest values (M, S) of each row; None if rows leave a choice.

    This runs on the CPU, in a third of the time of topk, and ascending indices are read faster afterwards.
    """
    rows, columns = values.shape
    if not count:
        return None
    array = values.numpy()
    parted = np.partition(array, count - 1, axis=1)
    largest_chosen = parted[:, count - 1, None]  # (M, 1)
    chosen = np.flatnonzero(array <= largest_chosen)
    if len(chosen) != rows * count:  # some of several equal values are left out
        return None
    row_starts = np.arange(rows)[:, None] * columns
    return torch.from_numpy(chosen.reshape(rows, count) - row_starts)


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


def sample_features(features: Tensor, points: Tensor) -> Tensor:
    """Return the bilinear values (C, P) of one feature map (C, h, w) at points (P, 2), zero outside.

    Bilinear sampling and the product with mask embeddings are both linear. Features that are sampled once therefore
    serve every query: sampled masks are ``mask_embed @ sampled features``. On a CPU, a weighted sum of whole rows is
    many times as fast as ``grid_sample``, which goes through the channels one by one.
    """
    corners = Corners.around(points, features.shape[-2:])
    rows = features.flatten(1).T.contiguous()  # (h * w, C)
    weight = corners.weight.type_as(rows)
    values = F.embedding_bag(corners.pixel, rows, per_sample_weights=weight, mode='sum')  # (P, C)
    return values.T.contiguous()  # products with it are faster


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


MAX_LOGITS = 2**23
"""Mask logits at all points that are held at once: bounds memory, changes no value."""


def pick_logits(
    embed: Tensor, features: Tensor, choose: Callable[[Tensor], Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Return the logits of masks at the points that ``choose`` returns, in parts of some masks.

    Args:
        embed: Mask embeddings (M, C) of one image.
        features: Of the image at all S points (C, S).
        choose: Returns the indices (m, P) of points for logits (m, S) of some masks.

    Returns:
        For each part of m masks, logits (m, P) and the indices (m, P) of their points, int32.
    """
    logits_and_indices = _PickLogits.apply(embed, features, choose)
    num_parts = len(logits_and_indices) // 2
    return list(zip(logits_and_indices[:num_parts], logits_and_indices[num_parts:], strict=True))


class _PickLogits(Function):
    """Mask logits at the chosen points, without keeping the logits at all points.

    E (m, C) are the embeddings of some masks and F (C, S) the features at all points. Point p of mask i is chosen by
    index[i, p]. G (m, S) is the gradient of the chosen logits, put where they come from, and zero elsewhere:

    - value: (E @ F)[i, index[i, p]]
    - d/dembed: G @ F.T
    - d/dfeatures: E.T @ G, summed over all parts

    Plain autograd would allocate one gradient of all point features per set of predictions.

    Returns:
        The logits of all parts, followed by the indices (int32) of all parts.
    """

    @staticmethod
    def forward(
        ctx: Any, embed: Tensor, features: Tensor, choose: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, ...]:
        masks_per_part = max(1, MAX_LOGITS // features.shape[1])
        chosen_logits, indices = [], []
        for part in embed.split(masks_per_part):
            logits = part @ features  # (m, S)
            index = choose(logits)
            chosen_logits.append(logits.gather(1, index))
            indices.append(index.int())
        ctx.mark_non_differentiable(*indices)
        ctx.save_for_backward(embed, features, *indices)
        return (*chosen_logits, *indices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        embed, features, *indices = ctx.saved_tensors
        parts = embed.split([index.shape[0] for index in indices])
        grad_embed = []
        grad_features = torch.zeros_like(features)
        # The indices have no gradients.
        for part, index, gradient in zip(parts, indices, gradients, strict=False):
            num_masks = part.shape[0]
            grad_logits = part.new_zeros(num_masks, features.shape[1])
            grad_logits.scatter_(1, index.long(), gradient)
            grad_embed.append(grad_logits @ features.T)
            grad_features.addmm_(part.T, grad_logits)
        return torch.cat(grad_embed), grad_features, None
