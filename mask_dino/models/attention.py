"""Multi-scale deformable attention that waits for no device and, on a CPU, keeps little memory."""

from typing import Any

from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import Tensor

from .sampling import sample_maps


class DeformableAttention(MultiScaleDeformableAttention):
    """mmcv's attention (Deformable DETR, arXiv 2010.04159), batch first, with its parameters and its kernel for GPUs.

    Differs in three things. mmcv asks the device in every call whether the levels have as many tokens as there are
    values, and waits. In mixed precision, the sampling stays in float32: the kernel has no bfloat16, and float16
    locations are as coarse as a pixel on large maps. Without a GPU, mmcv goes through the channels one by one, and
    keeps every sampled value for the backward pass.
    """

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        query_pos: Tensor,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        **unused: Any,
    ) -> Tensor:
        """Attend to values (B, L, C) around points (B, Q, V, 2) or boxes (B, Q, V, 4) for queries (B, Q, C)."""
        asked = query + query_pos
        heads = (*query.shape[:2], self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(asked).view(*heads, 2).float()
        weights = self.attention_weights(asked).float().unflatten(-1, (self.num_heads, -1)).softmax(-1).view(heads)
        values = self.value_proj(value).float().unflatten(-1, (self.num_heads, -1))  # (B, L, heads, C / heads)
        points = reference_points[:, :, None, :, None].float()
        if points.shape[-1] == 2:
            locations = points + offsets / spatial_shapes.flip(1)[:, None]
        else:
            locations = points[..., :2] + offsets / self.num_points * points[..., 2:] * 0.5
        output = self.sample(values, spatial_shapes, level_start_index, locations, weights)
        result: Tensor = self.dropout(self.output_proj(output)) + query
        return result

    def sample(self, values: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sums (B, Q, C) of values at locations (B, Q, heads, V, points, 2), xy in [0, 1]."""
        if values.is_cuda:
            output: Tensor = MultiScaleDeformableAttnFunction.apply(
                values, shapes, starts, locations, weights, self.im2col_step
            )
        else:
            output = sample_maps(values, shapes, locations, weights)
        return output
