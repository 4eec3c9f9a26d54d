"""3 x 3 convolutions of large maps on a CPU, by Winograd's algorithm (Lavin and Gray, arXiv 1509.09308)."""

from functools import cache
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight

from .precision import CAN_TELL_AUTOCAST, is_float32_on_cpu

MIN_PIXELS = 2**12
"""Maps of fewer pixels gain little."""
MAX_CONVOLVED_PIXELS = 2**13
"""Pixels of a map that are convolved at once: NNPACK keeps a buffer of 47 MB for them, with 256 channels."""


@MODELS.register_module()
class WinogradConv2d(nn.Conv2d):
    """A convolution that takes a third of the time on a CPU, in float32, where it is 3 x 3 and the maps are large.

    NNPACK, which is a part of torch, needs a fifth of the multiplications. Values and gradients differ from those of
    ``Conv2d`` by 4e-6 of their root mean square; those of ``Conv2d`` differ from float64 by 2e-7. Everything else is
    computed as ``Conv2d`` does. ``conv_cfg=dict(type='WinogradConv2d')`` puts it into modules of mmcv.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return the convolution (B, C', h, w) of maps (B, C, h, w)."""
        if not self.suits(maps):
            return super().forward(maps)
        convolved: Tensor = _Convolve.apply(maps, self.weight)
        return convolved

    def suits(self, maps: Tensor) -> bool:
        """Tell whether NNPACK computes the convolution of maps (B, C, h, w)."""
        return (
            self.is_plain()
            and is_float32_on_cpu(maps)
            and self.weight.dtype == torch.float32
            and maps.ndim == 4
            and len(maps) > 0
            and maps.shape[2] * maps.shape[3] >= MIN_PIXELS
            and has_nnpack()
        )

    def is_plain(self) -> bool:
        """Tell whether the convolution is 3 x 3, and keeps the size of the maps."""
        window = (self.kernel_size, self.stride, self.padding, self.dilation)
        has_extras = self.bias is not None or self.groups > 1 or self.padding_mode != 'zeros'
        return window == ((3, 3), (1, 1), (1, 1), (1, 1)) and not has_extras


@cache
def has_nnpack() -> bool:
    """Tell whether torch has NNPACK for this processor, and tells whether it suits the precision.

    NNPACK fails if torch was not asked whether it has it.
    """
    has_operation = hasattr(torch, '_nnpack_spatial_convolution')
    return has_operation and CAN_TELL_AUTOCAST and bool(torch.backends.nnpack.is_available())


class _Convolve(Function):
    """:func:`convolve` with its gradients: that of the maps is a convolution with the flipped weight."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(maps, weight)
        return convolve(maps, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        maps, weight = ctx.saved_tensors
        grad_maps = grad_weight = None
        if ctx.needs_input_grad[0]:
            flipped = weight.flip(2, 3).transpose(0, 1)
            grad_maps = convolve(gradient, flipped.contiguous())
        if ctx.needs_input_grad[1]:
            grad_weight = conv2d_weight(maps, weight.shape, gradient, padding=1)
        return grad_maps, grad_weight


def convolve(maps: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution (B, C', h, w) of maps (B, C, h, w) with a weight (C', C, 3, 3), zero outside of the maps.

    NNPACK takes longer for several images at once than for one after another.
    """
    batch, _, height, width = maps.shape
    num_rows = max(1, MAX_CONVOLVED_PIXELS // width)
    output = maps.new_empty(batch, weight.shape[0], height, width)
    for image, result in zip(maps.split(1), output.split(1), strict=True):
        for start in range(0, height, num_rows):
            rows = result[:, :, start : start + num_rows]
            rows.copy_(_convolve_rows(image, weight, start, rows.shape[2]))
    return output


def _convolve_rows(image: Tensor, weight: Tensor, start: int, count: int) -> Tensor:
    """Return ``count`` rows of the convolution of an image (1, C, h, w)."""
    first = max(0, start - 1)
    stop = start + count
    needed = image[:, :, first : stop + 1]
    convolved = torch._nnpack_spatial_convolution(needed, weight, None, (1, 1))
    return convolved[:, :, start - first : stop - first]
