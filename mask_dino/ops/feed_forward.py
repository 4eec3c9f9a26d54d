"""The feed-forward networks of the transformer layers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .recomputing import recompute_if_large
from .tracing import is_traced

MAX_TOKENS = 512
"""Tokens of an image that a feed-forward network takes at once on a CPU; changes no value."""
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch, 'get_autocast_dtype')
"""Whether torch has the products of oneDNN, and (since 2.4) tells whether mixed precision is on on a CPU."""


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
            return self.compute_by_onednn(tokens)
        parts = tokens.split(MAX_TOKENS, 1)
        outputs = [recompute_if_large(num_hidden_values, forward, part) for part in parts]
        return torch.cat(outputs, 1)

    def suits_onednn(self, tokens: Tensor) -> bool:
        """Tell whether :meth:`compute_by_onednn` can compute tokens: float32, and without gradients."""
        return (
            HAS_ONEDNN
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled('cpu')
            and tokens.dtype == torch.float32
            # Not replaced, such as by quantised layers.
            and all(type(layer) is nn.Linear for layer in self.linear_layers())
        )

    def linear_layers(self) -> tuple[Any, Any]:
        """Return the first and the second layer."""
        return self.layers.get_submodule('0.0'), self.layers.get_submodule('1')

    def compute_by_onednn(self, tokens: Tensor) -> Tensor:
        """Return what :meth:`FeedForward.forward` does for tokens (B, L, C), from the products of oneDNN.

        On processors of AMD, these take 0.85 to 0.93 of the time of MKL's, copies into the form of oneDNN included.
        """
        first, second = self.linear_layers()
        outputs = torch.empty_like(tokens)
        parts = zip(tokens.split(MAX_TOKENS, 1), outputs.split(MAX_TOKENS, 1), strict=True)
        for part, output in parts:
            hidden = F.linear(part.to_mkldnn(), first.weight, first.bias).relu_()
            change = F.linear(hidden, second.weight, second.bias).to_dense()
            torch.add(change, part, out=output)
        return outputs
