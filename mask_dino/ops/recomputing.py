"""Activation checkpointing: values are computed again in the backward pass instead of kept."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MAX_KEPT_VALUES = 2**19
"""Up to this many numbers (2 MB) are kept for the backward pass: computing them again would take more time than they
are worth in memory."""


def apply_layer(layer: nn.Module, with_cp: bool, *inputs: Any) -> Tensor:
    """Return the output of a layer; ``with_cp`` trades time for memory as :func:`recompute` does."""
    output: Tensor = recompute(layer, *inputs) if with_cp else layer(*inputs)
    return output


def recompute_if_large(num_values: int, function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Call :func:`recompute` if more than :data:`MAX_KEPT_VALUES` numbers would be kept, else the function itself."""
    if not torch.is_grad_enabled() or num_values <= MAX_KEPT_VALUES:
        return function(*inputs)
    return recompute(function, *inputs)


def recompute(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Run a deterministic function with activation checkpointing: same values and gradients, less memory."""
    if not torch.is_grad_enabled():
        return function(*inputs)
    # To preserve the state of random numbers, torch would wait for the device.
    output: Tensor = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return output
