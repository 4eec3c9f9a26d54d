"""The transformer layers of the encoder and the decoder: mmdet's, as Mask DINO sets them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmcv.cnn.bricks.transformer import FFN
from mmdet.models.layers.transformer.deformable_detr_layers import (
    DeformableDetrTransformerDecoderLayer,
    DeformableDetrTransformerEncoderLayer,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .deformable_attention import DeformableAttention

MAX_TOKENS = 512
"""Tokens of an image that a feed-forward network takes at once in training on a CPU; changes no value."""


class LayerSizes(NamedTuple):
    """Sizes that every layer of one transformer shares."""

    embed_dims: int
    num_levels: int
    feedforward_channels: int
    num_heads: int
    num_points: int

    def attention(self) -> dict:
        """Return the config of self-attention."""
        return dict(embed_dims=self.embed_dims, num_heads=self.num_heads, batch_first=True)

    def deformable_attention(self) -> dict:
        """Return the config of multi-scale deformable attention."""
        return dict(**self.attention(), num_levels=self.num_levels, num_points=self.num_points, dropout=0.0)

    def feedforward(self) -> dict:
        """Return the config of the feed-forward network."""
        return dict(embed_dims=self.embed_dims, feedforward_channels=self.feedforward_channels, num_fcs=2, ffn_drop=0.0)


class FeedForward(FFN):
    """mmcv's network of two products, whose hidden layer, half of what an encoder keeps, is computed again.

    On a CPU this takes no time, because it goes by a few tokens, whose hidden values stay in the cache.
    """

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """Add what the network makes of x (B, L, C) to it, or to ``identity``."""
        parts = (x,) if x.is_cuda or not torch.is_grad_enabled() else x.split(MAX_TOKENS, 1)
        made = torch.cat([recomputed(self.layers, part) for part in parts], 1)
        return made + (x if identity is None else identity)


class SelfAttention(nn.MultiheadAttention):
    """torch's attention without its weights, which nobody asks for: memory grows with the queries, not their square."""

    def forward(self, *inputs: Any, **named: Any) -> tuple[Tensor, None]:
        """Return the attended values, as torch does, and no weights."""
        values, _ = super().forward(*inputs, **{**named, 'need_weights': False})
        return values, None


def encoder_layers(num_layers: int, sizes: LayerSizes) -> nn.ModuleList:
    """Return deformable self-attention layers, initialised."""
    attention = sizes.deformable_attention()
    layers = nn.ModuleList(
        DeformableDetrTransformerEncoderLayer(
            self_attn_cfg=attention, ffn_cfg=sizes.feedforward(), norm_cfg=dict(type='LN')
        )
        for _ in range(num_layers)
    )
    for layer in layers:
        layer.self_attn = DeformableAttention(**attention)
        layer.ffn = FeedForward(**sizes.feedforward())
    return _initialise(layers)


def decoder_layers(num_layers: int, sizes: LayerSizes) -> nn.ModuleList:
    """Return self-attention + deformable cross-attention layers, initialised."""
    attention = sizes.deformable_attention()
    layers = nn.ModuleList(
        DeformableDetrTransformerDecoderLayer(
            self_attn_cfg=dict(**sizes.attention(), attn_drop=0.0),
            cross_attn_cfg=attention,
            ffn_cfg=sizes.feedforward(),
            norm_cfg=dict(type='LN'),
        )
        for _ in range(num_layers)
    )
    for layer in layers:
        layer.get_submodule('self_attn').attn = SelfAttention(sizes.embed_dims, sizes.num_heads)
        layer.cross_attn = DeformableAttention(**attention)
    return _initialise(layers)


def apply(layer: nn.Module, tokens: Tensor, with_cp: bool, **arguments: Any) -> Tensor:
    """Return a layer's output; with gradient checkpointing, what it computes inside is computed again for gradients.

    Args:
        with_cp: Whether to checkpoint; it changes no number.
        arguments: What the layer takes beside the tokens.
    """
    output: Tensor = recomputed(layer, tokens, **arguments) if with_cp else layer(tokens, **arguments)
    return output


def _initialise(layers: nn.ModuleList) -> nn.ModuleList:
    for parameter in layers.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
    for module in layers.modules():
        if isinstance(module, DeformableAttention):
            module.init_weights()
    return layers


def recomputed(function: Callable[..., Tensor], *arguments: Any, **named: Any) -> Tensor:
    """Call a function without random numbers; what it computes inside is not kept, but computed again for gradients."""
    if not torch.is_grad_enabled():
        return function(*arguments, **named)
    # The state of random numbers would be asked of the device.
    output: Tensor = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False, **named)
    return output
