"""Gradient checkpointing: what takes little time and much memory is computed twice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Tensor], *arguments: Any, **named: Any) -> Tensor:
    """Call a function without random numbers; what it computes inside is not kept, but computed again for gradients."""
    if not torch.is_grad_enabled():
        return function(*arguments, **named)
    # The state of random numbers would be asked of the device.
    output: Tensor = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False, **named)
    return output
