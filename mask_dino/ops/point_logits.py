"""Mask logits at the points where a mask is least certain, without keeping those at all points."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .interpolation import Corners
from .points import MaskPoints

MAX_LOGITS = 2**24
"""Mask logits at all points that are held at once, 64 MB: bounds memory, changes no value."""
MAX_LOGITS_ON_CPU = 2**21
"""The same on a CPU, 8 MB. glibc gives buffers above 32 MB back to the system after each use, and getting them anew
takes longer than filling them. A GPU waits for the start of each operation, and so takes longer for smaller parts."""


def pick_logits(
    embed: Tensor, points: MaskPoints, choose: Callable[[Tensor], Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Return the logits of masks at the points that ``choose`` returns, in parts of some masks.

    Args:
        embed: Mask embeddings (M, C) of one image.
        points: The S points of the image.
        choose: Returns the indices (m, P) of points for logits (m, S) of some masks.

    Returns:
        For each part of m masks, logits (m, P) and the indices (m, P) of their points, int32.
    """
    logits_and_indices = _PickLogits.apply(embed, points.features, points.corners, choose)
    num_parts = len(logits_and_indices) // 2
    return list(zip(logits_and_indices[:num_parts], logits_and_indices[num_parts:], strict=True))


class _PickLogits(Function):
    """Mask logits at the chosen points, without keeping the logits at all points.

    E (m, C) are the embeddings of some masks and F (C, S) the features at all points. Point p of mask i is chosen by
    index[i, p]. G (m, S) is the gradient of the chosen logits, put where they come from, and zero elsewhere:

    - value: (E @ F)[i, index[i, p]]
    - d/dembed: G @ F.T
    - d/dfeatures: E.T @ G, summed over all parts

    With corners, F are the features of all pixels. E @ F is then interpolated, and G is spread over the pixels.

    Plain autograd would allocate one gradient of all features per set of predictions.

    Returns:
        The logits of all parts, followed by the indices (int32) of all parts.
    """

    @staticmethod
    def forward(
        ctx: Any,
        embed: Tensor,
        features: Tensor,
        corners: Corners | None,
        choose: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, ...]:
        ctx.corners = corners
        ctx.num_points = len(corners.pixel) if corners is not None else features.shape[1]
        max_logits = MAX_LOGITS_ON_CPU if embed.is_cpu else MAX_LOGITS
        masks_per_part = max(1, max_logits // ctx.num_points)
        chosen_logits, indices = [], []
        for part in embed.split(masks_per_part):
            logits = part @ features
            if corners is not None:
                logits = corners.interpolate(logits)
            index = choose(logits)  # of (m, S)
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
            grad_logits = part.new_zeros(part.shape[0], ctx.num_points)
            grad_logits.scatter_(1, index.long(), gradient)
            if ctx.corners is not None:
                grad_logits = ctx.corners.spread(grad_logits, features.shape[1])
            grad_embed.append(grad_logits @ features.T)
            grad_features.addmm_(part.T, grad_logits)
        return torch.cat(grad_embed), grad_features, None, None
