"""Multi-scale deformable attention that waits for no device and, on a CPU, keeps little memory."""

from typing import Any

import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


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
            sample = _SampledRows.apply if torch.is_grad_enabled() else sample_rows
            output = sample(values, shapes, starts, locations, weights)
        return output


def sample_rows(values: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Return what the kernel does, as weighted sums of rows of values; see :meth:`DeformableAttention.sample`."""
    index, part = _corners(values, shapes, starts, locations, weights)
    sums = F.embedding_bag(index, values.reshape(-1, values.shape[-1]), per_sample_weights=part, mode='sum')
    return sums.view(len(values), -1, values.shape[2] * values.shape[3])


class _SampledRows(Function):
    """:func:`sample_rows`, which keeps nothing but what it is given for the backward pass."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return sample_rows(*given)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        values, shapes, starts, *places = ctx.saved_tensors
        places = [x.detach().requires_grad_() for x in places]
        rows = values.reshape(-1, values.shape[-1])
        with torch.enable_grad():
            index, part = _corners(values, shapes, starts, *places)
            sums = F.embedding_bag(index, rows, per_sample_weights=part, mode='sum')
        gradient = gradient.reshape(sums.shape)
        of_places = torch.autograd.grad(sums, places, gradient)
        return _sum_by_row(index, part.detach(), gradient, len(rows)).view_as(values), None, None, *of_places


def _sum_by_row(index: Tensor, part: Tensor, gradient: Tensor, num_rows: int) -> Tensor:
    """Return the gradient of the rows, as weighted sums of those of the bags: twice as fast as PyTorch's own."""
    row, entry = index.flatten().sort()
    starts = torch.searchsorted(row, torch.arange(num_rows, dtype=row.dtype))
    bag = entry.div(index.shape[1], rounding_mode='floor')
    return F.embedding_bag(bag, gradient, starts, per_sample_weights=part.flatten()[entry], mode='sum')


def _corners(
    values: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the bags (B * Q * heads, V * points * 4) of rows of one head each, and the part each has in its sum."""
    batch, length, heads, _ = values.shape
    size = shapes.flip(1)[:, None]  # (V, 1, 2), width and height
    pixels = locations * size - 0.5
    low = pixels.detach().floor()
    share = torch.stack((low + 1 - pixels, pixels - low), -1)  # (..., xy, 2) of the two neighbours
    corner = low.int()[..., None] + torch.arange(2, dtype=torch.int32)
    last = size.int()[..., None] - 1
    share = share * ((corner >= 0) & (corner <= last))
    x, y = corner.clamp_(min=0).minimum(last).unbind(-2)
    head = torch.arange(heads, dtype=torch.int32)[:, None, None, None]
    image = torch.arange(batch, dtype=torch.int32)[:, None, None, None, None, None] * length
    row = y * size.int()[..., :1] + starts.int()[:, None, None] + image
    index = (row[..., None] + x[..., None, :]) * heads + head[..., None]
    part = (share[..., 1, :] * weights[..., None])[..., None] * share[..., 0, None, :]
    return index.flatten(3).flatten(0, 2), part.flatten(3).flatten(0, 2)
