"""The precision in which values are computed on a CPU."""

import torch
from torch import Tensor

from .tracing import is_traced

CAN_TELL_AUTOCAST = hasattr(torch, 'get_autocast_dtype')
"""Whether torch tells if mixed precision is on on a CPU: since 2.4."""


def is_float32_on_cpu(values: Tensor) -> bool:
    """Tell whether values are float32 on a CPU, without traces and mixed precision; never before torch 2.4."""
    if is_traced() or not CAN_TELL_AUTOCAST:
        return False
    is_float32 = values.is_cpu and values.dtype == torch.float32
    return is_float32 and not torch.is_autocast_enabled('cpu')
