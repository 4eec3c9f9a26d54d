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
from mask_dino.ops.transformer_layers import FeedForward, SelfAttention


class TextbookAttention(DeformableAttention):
    def sample(self, values: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        if values.is_cuda:
            return super().sample(values, shapes, starts, locations, weights)
        return multi_scale_deformable_attn_pytorch(values, shapes.tolist(), locations, weights)


STOCK = {DeformableAttention: TextbookAttention, FeedForward: FFN, SelfAttention: nn.MultiheadAttention}


@MODELS.register_module()
class TextbookHead(MaskDINOHead):
    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        for module in self.modules():
            module.__class__ = STOCK.get(type(module), type(module))
