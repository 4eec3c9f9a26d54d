"""The transformer layers of the encoder and the decoder.

Parameters have the names of mmdet's layers of Deformable DETR. Differs from them in what is kept for the backward
pass: neither the hidden values of the encoder's feed-forward networks nor the weights of self-attention.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..messages import DataError
from ..structures import Memory
from .deformable_attention import DeformableAttention
from .feed_forward import FeedForward, RecomputedFeedForward
from .tracing import CAN_DEFINE_OPERATIONS, is_traced

TOKENS_AT_ONCE = 2048
"""Tokens of an image that a layer of the encoder computes at once in inference on a CPU; changes no value. More of them
take buffers that glibc gives back to the system after each layer, and getting them anew costs page faults."""


def suits_parts(tokens: Tensor) -> bool:
    """Tell whether tokens (B, L, C) are many, on a CPU, without gradients and traces."""
    is_inference = tokens.is_cpu and not torch.is_grad_enabled() and not is_traced()
    return is_inference and tokens.shape[1] > TOKENS_AT_ONCE


class LayerSizes(NamedTuple):
    """Sizes that every layer of one transformer shares."""

    embed_dims: int
    num_levels: int
    feedforward_channels: int
    num_heads: int
    num_points: int

    def build_deformable_attention(self) -> DeformableAttention:
        """Return attention of these sizes."""
        return DeformableAttention(
            self.embed_dims, self.num_heads, self.num_levels, self.num_points
        )

    def build_norms(self, count: int) -> nn.ModuleList:
        """Return ``count`` norms of these sizes."""
        return nn.ModuleList(nn.LayerNorm(self.embed_dims) for _ in range(count))


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward network, each followed by a norm."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__()
        self.self_attn = sizes.build_deformable_attention()
        self.ffn = RecomputedFeedForward(sizes.embed_dims, sizes.feedforward_channels)
        self.norms = sizes.build_norms(2)

    def forward(self, memory: Memory, position: Tensor, points: Tensor) -> Tensor:
        """Return the new tokens (B, L, C) of the memory.

        Args:
            position: (1, L, C), the positional encoding of the tokens, the same for all images.
            points: (B, L, V, 2), the centres of the tokens, xy in [0, 1] of each of V levels.
        """
        if suits_parts(memory.tokens):
            return self.compute_in_parts(memory, position, points)
        return self.complete(self.self_attn(memory.tokens, position, points, memory))

    def complete(self, tokens: Tensor) -> Tensor:
        """Return the new tokens (B, L, C) for those after self-attention."""
        attention_norm, ffn_norm = self.norms
        tokens = self.ffn(attention_norm(tokens))
        output: Tensor = ffn_norm(tokens)
        return output

    def compute_in_parts(self, memory: Memory, position: Tensor, points: Tensor) -> Tensor:
        """Return what :meth:`forward` does, for some tokens at a time."""
        values = self.self_attn.project_bordered(memory)
        outputs = []
        parts = (x.split(TOKENS_AT_ONCE, 1) for x in (memory.tokens, position, points))
        for content, position_of_part, around in zip(*parts, strict=True):
            attended = self.self_attn.attend_to(values, content, position_of_part, around, memory)
            outputs.append(self.complete(attended))
        return torch.cat(outputs, 1)


class DecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention and a feed-forward network, each followed by a norm."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__()
        self.self_attn = SelfAttention(sizes.embed_dims, sizes.num_heads)
        self.cross_attn = sizes.build_deformable_attention()
        self.ffn = FeedForward(sizes.embed_dims, sizes.feedforward_channels)
        self.norms = sizes.build_norms(3)

    def forward(
        self,
        content: Tensor,
        position: Tensor,
        boxes: Tensor,
        memory: Memory,
        attn_mask: Tensor | None,
    ) -> Tensor:
        """Return the new content (B, Q, C) of the queries.

        Args:
            content: (B, Q, C).
            position: (B, Q, C), the positional encoding of the boxes.
            boxes: (B, Q, V, 4), cxcywh in [0, 1] of each of V levels.
            attn_mask: (Q, Q) bool, True where self-attention is blocked.
        """
        content = self.self_attn(content, position, attn_mask)
        content = self.norms[0](content)
        content = self.cross_attn(content, position, boxes, memory)
        content = self.norms[1](content)
        output: Tensor = self.norms[2](self.ffn(content))
        return output


class SelfAttention(nn.Module):
    """torch's multi-head attention among queries, with its residual connection and without its weights.

    Nobody asks for the weights; without them, memory grows with the number of queries, not with its square.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, batch_first=True)

    def forward(self, content: Tensor, position: Tensor, attn_mask: Tensor | None) -> Tensor:
        """Add to the content (B, Q, C) the content that it finds in other queries.

        Args:
            position: (B, Q, C), added to the content where queries are compared.
            attn_mask: (Q, Q) bool, True where attention is blocked.
        """
        positioned = content + position
        attended, _ = self.attn(
            positioned, positioned, content, attn_mask=attn_mask, need_weights=False
        )
        output: Tensor = content + attended
        return output


def build_encoder_layers(num_layers: int, sizes: LayerSizes) -> nn.ModuleList:
    """Return initialised layers for encoder tokens."""
    return _initialise(nn.ModuleList(EncoderLayer(sizes) for _ in range(num_layers)))


def build_decoder_layers(num_layers: int, sizes: LayerSizes) -> nn.ModuleList:
    """Return initialised layers for queries."""
    return _initialise(nn.ModuleList(DecoderLayer(sizes) for _ in range(num_layers)))


def _initialise(layers: nn.ModuleList) -> nn.ModuleList:
    """Give all matrices the initial values of Deformable DETR."""
    for parameter in layers.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
    for module in layers.modules():
        if isinstance(module, DeformableAttention):
            module.init_weights()
    return layers


def compile_layers(model: nn.Module, options: dict) -> None:
    """Have the layers of the encoder and the decoder compiled when they are first called.

    Names and values of parameters do not change. Equal layers share one program, so that the time to compile does not
    grow with their number. Sizes are variables of the program, so that images of other sizes need no other program.

    Args:
        model: Has a Mask DINO in it.
        options: Arguments of torch.compile.

    Raises:
        DataError: The model has no Mask DINO, torch.compile does not take the options, or torch is older than 2.4.
    """
    layers = [
        module for module in model.modules() if isinstance(module, EncoderLayer | DecoderLayer)
    ]
    if not layers:
        raise DataError('compile: the model of the config is no Mask DINO; set compile=False')
    if not CAN_DEFINE_OPERATIONS:
        raise DataError(
            f'compile: needs torch 2.4 or newer, not {torch.__version__}; set compile=False'
        )
    try:
        for layer in layers:
            layer.compile(**dict(dynamic=True) | options)
    except (RuntimeError, TypeError) as error:
        raise DataError(
            f'compile={options}: {error}; set compile=True or arguments of torch.compile'
        ) from error
