"""Deformable sampling on a CPU and its gradients as one operation each, in the programs of torch.compile.

torch.compile cannot look into sparse products. The sizes of the levels are in one list: height and width of each.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .exported import CAN_DEFINE_OPERATIONS, define_operation, pair_sizes
from .sparse_sampling import differentiate_sparse, sample_sparse


def _sample(values: Tensor, lengths: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    with torch.no_grad():
        return sample_sparse(values, pair_sizes(lengths), locations, weights)


def _differentiate(
    values: Tensor, lengths: Sequence[int], locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return differentiate_sparse(values, pair_sizes(lengths), locations, weights, gradient)


def _sample_fake(
    values: Tensor, lengths: Sequence[int], locations: Tensor, weights: Tensor
) -> Tensor:
    batch, _, heads, channels = values.shape
    return values.new_empty(batch, locations.shape[1], heads * channels)


def _differentiate_fake(
    values: Tensor, lengths: Sequence[int], locations: Tensor, weights: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        values.new_empty(values.shape),
        locations.new_empty(locations.shape),
        weights.new_empty(weights.shape),
    )


def _keep_arguments(ctx: Any, inputs: tuple, output: Tensor) -> None:
    values, ctx.lengths, locations, weights = inputs
    ctx.save_for_backward(values, locations, weights)


def _apply_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    values, locations, weights = ctx.saved_tensors
    gradients = differentiate_once(values, ctx.lengths, locations, weights, gradient)
    return gradients[0], None, *gradients[1:]


differentiate_once = define_operation('differentiate_sparse', _differentiate, _differentiate_fake)
sample_sparse_once = define_operation('sample_sparse', _sample, _sample_fake)
if CAN_DEFINE_OPERATIONS:
    torch.library.register_autograd(
        'mask_dino::sample_sparse', _apply_gradient, setup_context=_keep_arguments
    )
