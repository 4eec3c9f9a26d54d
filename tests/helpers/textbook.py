"""The network of stock parts, to be timed beside ours: mmcv's sampling for CPUs, one channel after the other, its
feed-forward networks and torch's attention with its weights, all values kept.

A config names :class:`TextbookHead`, as ``tests/tools/configs/textbook_r50.py`` does.
"""

from mmcv.cnn.bricks.transformer import FFN
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
from mmdet.registry import MODELS
from torch import Tensor, nn

from mask_dino.models import MaskDINOHead
from mask_dino.ops.deformable_attention import DeformableAttention
from mask_dino.ops.feed_forward import FeedForward
from mask_dino.ops.transformer_layers import SelfAttention
from mask_dino.structures import Memory


class TextbookAttention(DeformableAttention):
    def sample(self, values: Tensor, memory: Memory, locations: Tensor, weights: Tensor) -> Tensor:
        if values.is_cpu:
            return multi_scale_deformable_attn_pytorch(values, memory.sizes, locations, weights)
        return super().sample(values, memory, locations, weights)


class TextbookSelfAttention(SelfAttention):
    def forward(self, content: Tensor, position: Tensor, attn_mask: Tensor | None) -> Tensor:
        located = content + position
        return content + self.attn(located, located, content, attn_mask=attn_mask)[0]


def stock(module: nn.Module) -> nn.Module | None:
    """Return the stock part that computes what a part of ours does; None for what is stock already."""
    if isinstance(module, DeformableAttention):
        embed_dims = module.output_proj.out_features
        return TextbookAttention(embed_dims, module.num_heads, module.num_levels, module.num_points)
    if isinstance(module, SelfAttention):
        return TextbookSelfAttention(module.attn.embed_dim, module.attn.num_heads)
    if isinstance(module, FeedForward):
        return FFN(module.layers[1].out_features, module.layers[1].in_features)
    return None


def replace_parts(layer: nn.Module) -> None:
    """Put stock parts with the same weights into a layer."""
    for name, part in list(layer.named_children()):
        replacement = stock(part)
        if replacement is not None:
            replacement.load_state_dict(part.state_dict())
            setattr(layer, name, replacement)


@MODELS.register_module()
class TextbookHead(MaskDINOHead):
    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        layers = (*self.pixel_decoder.layers, *self.decoder.layers)
        for layer in layers:
            replace_parts(layer)
