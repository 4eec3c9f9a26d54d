"""The transformer layers of the encoder and the decoder: mmdet's, as Mask DINO sets them."""

from typing import Any, NamedTuple

import torch
from mmdet.models.layers.transformer.deformable_detr_layers import (
    DeformableDetrTransformerDecoderLayer,
    DeformableDetrTransformerEncoderLayer,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import DeformableAttention


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
        layer.cross_attn = DeformableAttention(**attention)
    return _initialise(layers)


def apply(layer: nn.Module, tokens: Tensor, with_cp: bool, **arguments: Any) -> Tensor:
    """Return a layer's output; with gradient checkpointing, what it computes inside is computed again for gradients.

    Args:
        with_cp: Whether to checkpoint; it changes no number.
        arguments: What the layer takes beside the tokens.
    """
    if with_cp and torch.is_grad_enabled():
        output: Tensor = checkpoint(layer, tokens, use_reentrant=False, **arguments)
        return output
    output = layer(tokens, **arguments)
    return output


def _initialise(layers: nn.ModuleList) -> nn.ModuleList:
    for parameter in layers.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
    for module in layers.modules():
        if isinstance(module, DeformableAttention):
            module.init_weights()
    return layers
