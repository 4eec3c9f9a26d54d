"""Mask logits at chosen points, in a fraction of the memory of plain autograd."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

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
        for part, index, gradient in zip(
            parts, indices, gradients, strict=False
        ):  # no gradients of indices
            num_masks = part.shape[0]
            grad_logits = part.new_zeros(num_masks, features.shape[1])
            grad_logits.scatter_(1, index.long(), gradient)
            grad_embed.append(grad_logits @ features.T)
            grad_features.addmm_(part.T, grad_logits)
        return torch.cat(grad_embed), grad_features, None
