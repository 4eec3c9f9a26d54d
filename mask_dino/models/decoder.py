"""Decoder layers that refine the boxes of their queries."""

import torch
from mmdet.models.layers import MLP, coordinate_to_encoding, inverse_sigmoid
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..ops.recomputing import apply_layer
from ..ops.transformer_layers import LayerSizes, build_decoder_layers
from ..structures import Memory, Queries
from .prediction import PredictionHead, build_box_branch


@MODELS.register_module()
class MaskDINODecoder(nn.Module):
    """Deformable decoder with iterative box refinement and look-forward-twice, as in DINO (arXiv 2203.03605).

    Differs from mmdet's ``DinoTransformerDecoder`` in three things. The inverse sigmoid is clamped at 1e-5, as in the
    original. Content is returned with its box, so that one head reads every layer. All layers share one box branch by
    default.

    Args:
        separate_box_branches: Whether every layer but the last has a box branch of its own, as in DINO. The last
            layer uses the branch of the head. By default, all layers do.
        normalise_content_once: Whether the head gets the content of a layer before the decoder's norm. Classes and
            masks then see it normalised once, as in DINO; by default twice, as in the original Mask DINO.
        with_cp: Whether to compute layers again in the backward pass instead of keeping their values.
        like_dino: Refused: it was split into the two options above.

    Raises:
        ValueError: ``like_dino`` is set.
    """

    def __init__(
        self,
        num_levels: int,
        num_layers: int = 9,
        embed_dims: int = 256,
        feedforward_channels: int = 2048,
        num_heads: int = 8,
        num_points: int = 4,
        separate_box_branches: bool = False,
        normalise_content_once: bool = False,
        with_cp: bool = False,
        like_dino: None = None,
    ) -> None:
        super().__init__()
        if like_dino is not None:
            raise ValueError(
                f'MaskDINODecoder: decoder.like_dino={like_dino} was split into two options; instead of it, set '
                f'decoder.separate_box_branches={like_dino} and decoder.normalise_content_once={like_dino}'
            )
        self.separate_box_branches = separate_box_branches
        self.normalise_content_once = normalise_content_once
        self.with_cp = with_cp
        sizes = LayerSizes(embed_dims, num_levels, feedforward_channels, num_heads, num_points)
        self.layers = build_decoder_layers(num_layers, sizes)
        num_branches = num_layers - 1 if separate_box_branches else 0
        self.box_embeds = nn.ModuleList(build_box_branch(embed_dims) for _ in range(num_branches))
        self.ref_point_head = MLP(2 * embed_dims, embed_dims, embed_dims, 2)
        for layer in self.ref_point_head.layers:
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self,
        queries: Queries,
        memory: Memory,
        head: PredictionHead,
        attn_mask: Tensor | None = None,
    ) -> list[Queries]:
        """Return, for each layer, the content (B, Q, C) that the head reads, with the reference (B, Q, 4) of its box.

        Args:
            queries: Content (B, Q, C) and reference (B, Q, 4) before the first layer.
            memory: Encoder tokens (B, L, C).
            head: Its norm and box branch are used.
            attn_mask: (Q, Q) bool, True where self-attention is blocked.
        """
        content = queries.content
        boxes = boxes_with_grad = queries.reference.sigmoid()
        refined = []
        for layer, box_embed in zip(self.layers, self.box_branches(head), strict=True):
            content = self.attend(layer, content, boxes, memory, attn_mask)
            normed = head.norm(content)
            reference = inverse_sigmoid(boxes_with_grad) + box_embed(normed)
            refined.append(Queries(content if self.normalise_content_once else normed, reference))
            # The next layer attends around these boxes without their gradient, and refines them with their gradient.
            boxes_with_grad = (box_embed(content) + inverse_sigmoid(boxes)).sigmoid()
            boxes = boxes_with_grad.detach()
        return refined

    def box_branches(self, head: PredictionHead) -> list[nn.Module]:
        """Return the box branch of each layer."""
        if self.separate_box_branches:
            return [*self.box_embeds, head.box_embed]
        return [head.box_embed] * len(self.layers)

    def attend(
        self,
        layer: nn.Module,
        content: Tensor,
        boxes: Tensor,
        memory: Memory,
        attn_mask: Tensor | None,
    ) -> Tensor:
        """Apply one layer to content (B, Q, C) around boxes (B, Q, 4)."""
        channels = content.shape[-1]
        encoding = coordinate_to_encoding(boxes, num_feats=channels // 2)  # (B, Q, 2C)
        position = self.ref_point_head(encoding)  # (B, Q, C)
        num_levels = len(memory.sizes)
        boxes = boxes[:, :, None].expand(-1, -1, num_levels, -1)  # (B, Q, V, 4)
        return apply_layer(layer, self.with_cp, content, position, boxes, memory, attn_mask)


def join_queries(first: Queries, second: Queries) -> Queries:
    """Join two sets of queries of the same batch."""
    return Queries(*(torch.cat(pair, 1) for pair in zip(first, second, strict=True)))


def stack_queries(queries: list[Queries]) -> Queries:
    """Stack the queries of several layers, so that one call predicts for all of them."""
    return Queries(*(torch.stack(fields) for fields in zip(*queries, strict=True)))
