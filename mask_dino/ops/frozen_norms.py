"""Frozen batch norms that are part of the convolutions before them.

A frozen batch norm multiplies and shifts the channels of a map. The convolution before it can do both, with other
weights and a bias. Then no map is read and written only for the norm. Names and values of parameters do not change.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.layers import FrozenBatchNorm2d
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class AppliedNorm(FrozenBatchNorm2d):
    """A frozen batch norm that a :class:`NormalisingConv2d` applies; by itself, it returns its input."""

    @classmethod
    def from_norm(cls, norm: FrozenBatchNorm2d) -> 'AppliedNorm':
        """Return such a norm with the tensors of another one."""
        applied = cls(norm.num_features, norm.eps)
        for name, values in norm.named_buffers():
            setattr(applied, name, values)
        return applied

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (B, C, h, w) as it is."""
        return x

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return what channels are multiplied with (C, 1, 1, 1), and what is added to them (C,)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale.view(-1, 1, 1, 1), self.bias - self.running_mean * scale


class NormalisingConv2d(nn.Conv2d):
    """A convolution without bias that also applies the frozen batch norm behind it.

    Args:
        conv: Convolution whose weight it shares.
        norm: The norm, which stays a part of the module that owns both.
    """

    def __init__(self, conv: nn.Conv2d, norm: AppliedNorm) -> None:
        settings: dict[str, Any] = dict(
            kernel_size=conv.kernel_size,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
        )
        super().__init__(conv.in_channels, conv.out_channels, bias=False, device='meta', **settings)
        self.weight = conv.weight
        self.norms = (norm,)  # in a tuple, so that its tensors are not parts of this module also

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map (B, C, h, w)."""
        scale, shift = self.norms[0].affine()
        if not torch.is_grad_enabled():
            return self._conv_forward(x, self.weight * scale, shift)
        settings = (self.stride, self.padding, self.dilation, self.groups)
        output: Tensor = _ScaledConvolution.apply(x, self.weight, scale, shift, settings)
        return output


class _ScaledConvolution(Function):
    """A convolution with weights that are multiplied by constants, without keeping the products.

    W are the weights, s the constants (C, 1, 1, 1) and b the bias:

    - value: conv(x, s * W) + b
    - d/dx: that of conv(x, s * W)
    - d/dW: s times that of conv(x, s * W) for s * W
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, settings: tuple
    ) -> Tensor:
        ctx.save_for_backward(x, weight, scale)
        ctx.settings = settings
        return F.conv2d(x, weight * scale, shift, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, scale = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        grad_x, grad_scaled, _ = torch.ops.aten.convolution_backward(
            gradient,
            x.type_as(
                gradient
            ),  # in mixed precision, both may have more precision than the gradient
            (weight * scale).type_as(gradient),
            None,  # the bias needs no gradient
            stride,
            padding,
            dilation,
            False,  # not transposed
            [0, 0],
            groups,
            [*ctx.needs_input_grad[:2], False],
        )
        if grad_x is not None:
            grad_x = grad_x.type_as(x)
        grad_weight = None if grad_scaled is None else grad_scaled.type_as(weight) * scale
        return grad_x, grad_weight, None, None, None


def fold_frozen_norms(backbone: nn.Module) -> None:
    """Let the convolutions of a ResNet apply the frozen batch norms behind them.

    Args:
        backbone: Its modules call a convolution and the norm that is registered after it one after the other. Other
            norms stay as they are.
    """
    for owner in list(backbone.modules()):
        fold_norms_of_children(owner)


def fold_norms_of_children(owner: nn.Module) -> None:
    """See :func:`fold_frozen_norms`; only the children of one module are changed."""
    children = list(owner.named_children())
    for (conv_name, conv), (norm_name, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and is_foldable(conv) and type(norm) is FrozenBatchNorm2d:
            applied = AppliedNorm.from_norm(norm)
            setattr(owner, norm_name, applied)
            setattr(owner, conv_name, NormalisingConv2d(conv, applied))


def is_foldable(conv: nn.Conv2d) -> bool:
    """Return whether a convolution is a plain one, to which a norm can add the bias."""
    is_plain = type(conv) is nn.Conv2d and conv.padding_mode == 'zeros'
    return is_plain and conv.bias is None and not isinstance(conv.padding, str)
