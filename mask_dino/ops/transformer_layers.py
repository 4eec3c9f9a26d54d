"""The transformer layers of the encoder and the decoder.

Parameters have the names of mmdet's layers of Deformable DETR. Differs from them in what is kept for the backward
pass: neither the hidden values of the encoder's feed-forward networks nor the weights of self-attention.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..messages import DataError
from ..structures import Memory
from .deformable_attention import DeformableAttention
from .tracing import CAN_DEFINE_OPERATIONS, is_exporting

MAX_TOKENS = 512
"""Tokens of an image that a feed-forward network takes at once on a CPU; changes no value."""
MAX_KEPT_VALUES = 2**19
"""Up to this many numbers (2 MB) are kept for the backward pass: computing them again would take more time than they
are worth in memory."""


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
        attention_norm, ffn_norm = self.norms
        tokens = self.self_attn(memory.tokens, position, points, memory)
        tokens = attention_norm(tokens)
        tokens = self.ffn(tokens)
        tokens = ffn_norm(tokens)
        return tokens


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
        traced = is_exporting() or torch.compiler.is_compiling()
        # A comparison of a length would fix it for a trace.
        in_parts = not traced and tokens.is_cpu and length > MAX_TOKENS
        parts = tokens.split(MAX_TOKENS, 1) if in_parts else (tokens,)
        outputs = [recompute_if_large(num_hidden_values, self.layers, part) for part in parts]
        output = torch.cat(outputs, 1) if in_parts else outputs[0]
        return output + tokens


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
