"""The feed-forward networks of the transformer layers."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .precision import CAN_TELL_AUTOCAST, is_float32_on_cpu
from .recomputing import recompute_if_large
from .tracing import is_traced

MAX_TOKENS = 512
"""Tokens of an image that a feed-forward network takes at once on a CPU; changes no value."""
HAS_ONEDNN = torch.backends.mkldnn.is_available() and CAN_TELL_AUTOCAST
"""Whether torch has the products of oneDNN, and tells whether they suit the precision."""


class FeedForward(nn.Module):
    """Two linear layers with a residual connection."""

    def __init__(self, embed_dims: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        hidden = nn.Sequential(nn.Linear(embed_dims, channels), nn.ReLU(inplace=True))
        self.layers = nn.Sequential(hidden, nn.Linear(channels, embed_dims))

    def forward(self, tokens: Tensor) -> Tensor:
        """Add to the tokens (B, L, C) what the layers make of them."""
        output: Tensor = self.layers(tokens) + tokens
        return output


class RecomputedFeedForward(FeedForward):
    """:class:`FeedForward` that computes its hidden values again in the backward pass.

    They would be half of the memory that an encoder keeps. On a CPU, a few tokens are computed at a time. Their hidden
    values stay in the cache, so that computing them twice takes no longer.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Add to the tokens (B, L, C) what the layers make of them."""
        batch, length, _ = tokens.shape
        num_hidden_values = batch * length * self.channels
        forward = super().forward
        # A comparison of a length would fix it for a trace.
        if is_traced() or not tokens.is_cpu or length <= MAX_TOKENS:
            return recompute_if_large(num_hidden_values, forward, tokens)
        if self.suits_onednn(tokens):
            output: Tensor = _FeedForwardByOneDnn.apply(tokens, *self.weights())
            return output
        parts = tokens.split(MAX_TOKENS, 1)
        outputs = [recompute_if_large(num_hidden_values, forward, part) for part in parts]
        return torch.cat(outputs, 1)

    def suits_onednn(self, tokens: Tensor) -> bool:
        """Tell whether oneDNN can compute tokens: in float32, by layers of torch."""
        return (
            HAS_ONEDNN
            and is_float32_on_cpu(tokens)
            # Not replaced, such as by quantised layers.
            and all(type(layer) is nn.Linear for layer in self.linear_layers())
        )

    def linear_layers(self) -> tuple[Any, Any]:
        """Return the first and the second layer."""
        return self.layers.get_submodule('0.0'), self.layers.get_submodule('1')

    def weights(self) -> list[Tensor]:
        """Return weight and bias of the first, and of the second layer."""
        return [x for layer in self.linear_layers() for x in (layer.weight, layer.bias)]


class _FeedForwardByOneDnn(Function):
    """:class:`RecomputedFeedForward` by the products of oneDNN, with its gradients.

    On a processor of AMD, forward and backward pass together take 0.8 to 0.85 of the time of torch's own layers with
    checkpoints. Half of it is saved by the products, which are faster than MKL's, and half by adding the gradients of
    all parts in one place.

    Of tokens x, the hidden values are h = relu(x @ A.T + a), and the output is y = h @ B.T + b + x. With the gradient g
    of y:

    - d/dB = g.T @ h, and d/db is the sum of g over the tokens
    - d/dh = g @ B, zero where h is zero
    - d/dA = d/dh.T @ x, and d/da is the sum of d/dh
    - d/dx = d/dh @ A + g
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, *weights)
        expand, expand_bias, reduce, reduce_bias = weights
        outputs = torch.empty_like(tokens)
        parts = zip(tokens.split(MAX_TOKENS, 1), outputs.split(MAX_TOKENS, 1), strict=True)
        for part, output in parts:
            hidden = F.linear(part.to_mkldnn(), expand, expand_bias).relu_()
            change = F.linear(hidden, reduce, reduce_bias).to_dense()
            torch.add(change, part, out=output)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        tokens, *weights = ctx.saved_tensors
        grad_tokens = torch.empty_like(tokens)
        grad_weights = [torch.zeros_like(weight) for weight in weights]
        parts = (x.split(MAX_TOKENS, 1) for x in (tokens, gradient, grad_tokens))
        for part, upstream, output in zip(*parts, strict=True):
            change, *of_weights = _differentiate(part, upstream, weights)
            torch.add(change, upstream, out=output)
            for total, of_part in zip(grad_weights, of_weights, strict=True):
                total += of_part
        return grad_tokens, *grad_weights


def _differentiate(
    tokens: Tensor, gradient: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Return d/dh @ A and the gradients of all weights; see :class:`_FeedForwardByOneDnn`."""
    expand, expand_bias, reduce, _ = weights
    onednn = torch.ops.aten
    tokens, gradient = tokens.to_mkldnn(), gradient.to_mkldnn()
    hidden = F.linear(tokens, expand, expand_bias).relu_()
    of_reduce = onednn.mkldnn_linear_backward_weights(gradient, hidden, reduce, True)
    of_hidden = onednn.mkldnn_linear_backward_input(hidden.shape, gradient, reduce)
    of_hidden = onednn.threshold_backward(of_hidden, hidden, 0)
    of_expand = onednn.mkldnn_linear_backward_weights(of_hidden, tokens, expand, True)
    of_tokens = onednn.mkldnn_linear_backward_input(tokens.shape, of_hidden, expand)
    return of_tokens.to_dense(), *of_expand, *of_reduce
