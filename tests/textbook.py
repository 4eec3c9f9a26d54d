"""The network with mmcv's own sampling for CPUs, to be timed beside ours: one channel after the other, all values kept.

A config names :class:`TextbookHead`, as ``tests/tools/configs/textbook_r50.py`` does.
"""

from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
from mmdet.registry import MODELS
from torch import Tensor

from mask_dino.models import MaskDINOHead
from mask_dino.models.attention import DeformableAttention


class TextbookAttention(DeformableAttention):
    def sample(self, values: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        if values.is_cuda:
            return super().sample(values, shapes, starts, locations, weights)
        return multi_scale_deformable_attn_pytorch(values, shapes.tolist(), locations, weights)


@MODELS.register_module()
class TextbookHead(MaskDINOHead):
    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.__class__ = TextbookAttention
