"""Multi-scale deformable attention that waits for no device and, on a CPU, keeps little memory."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from scipy.sparse import csr_array
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
            output = sample_maps(values, shapes, locations, weights)
        return output


Sizes = Sequence[Sequence[int]]

BORDER = 2
"""Zeros around each map. Places beyond are moved to where all four neighbours are zeros: nobody asks who is inside."""


def sample_maps(values: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of bilinear values, zero outside of the maps: what mmcv's kernel computes on a GPU.

    Args:
        values: (B, L, heads, C), levels one after another, row by row.
        shapes: (V, 2), height and width of each level.
        locations: (B, Q, heads, V, points, 2), xy in [0, 1] of each of V levels.
        weights: (B, Q, heads, V, points).

    Returns:
        (B, Q, heads * C).
    """
    sizes = shapes.tolist()
    maps = zip(values.split([h * w for h, w in sizes], 1), sizes, strict=True)
    around = (0, 0, 0, 0) + (BORDER,) * 4
    bordered = torch.cat([F.pad(x.unflatten(1, size), around).flatten(1, 2) for x, size in maps], 1)
    sample = _WeightedSums.apply if torch.is_grad_enabled() else weighted_sums
    sums: Tensor = sample(bordered, sizes, locations, weights)
    return sums.view(len(values), -1, values.shape[2] * values.shape[3])


def weighted_sums(values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Return the sums (B * Q * heads, C); maps have their border here, see :func:`sample_maps`."""
    index, across, down = _neighbours(values, sizes, locations)
    shares = _shares(across, down, weights.reshape(across.shape))
    return F.embedding_bag(index, values.flatten(0, 2), per_sample_weights=shares, mode='sum')


class _WeightedSums(Function):
    """:func:`weighted_sums`, which keeps nothing but what it is given for the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
        ctx.sizes = sizes
        ctx.save_for_backward(values, locations, weights)
        return weighted_sums(values, sizes, locations, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        values, locations, weights = ctx.saved_tensors
        index, across, down = _neighbours(values, ctx.sizes, locations)
        weight = weights.reshape(across.shape)
        of_values = _gradient_of_rows(index, _shares(across, down, weight), gradient, values.shape[:3].numel())
        of_shares = _gradient_of_shares(index, gradient, values).unflatten(1, (4, -1))
        top_left, top_right, bottom_left, bottom_right = of_shares.unbind(1)
        top, bottom = torch.lerp(top_left, top_right, across), torch.lerp(bottom_left, bottom_right, across)
        slope = torch.stack((torch.lerp(top_right - top_left, bottom_right - bottom_left, down), bottom - top), -1)
        per_pixel = (slope * weight[..., None]).view_as(locations)
        of_locations = per_pixel * per_pixel.new_tensor(ctx.sizes).flip(1)[:, None]
        return of_values.view_as(values), None, of_locations, torch.lerp(top, bottom, down).view_as(weights)


def _neighbours(values: Tensor, sizes: Sizes, locations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of the four pixels around every place, and how far it is from the left and from the upper ones.

    Rows are (N, 4 * V * points) int32, distances (N, V * points) in [0, 1], with N = B * Q * heads.
    """
    batch, length, heads, _ = values.shape
    points = locations.shape[-2]
    size = torch.tensor(sizes)
    height, width = size.T.repeat_interleave(points, 1)  # (V * points,)
    y, down = _pixels(locations[..., 1].flatten(-2), height)
    x, across = _pixels(locations[..., 0].flatten(-2), width)
    line = width + 2 * BORDER
    area = (size + 2 * BORDER).prod(1)
    starts = (area.cumsum(0) - area).repeat_interleave(points)
    image = torch.arange(batch)[:, None, None, None] * length
    base = (starts + image) * heads + torch.arange(heads)[:, None]  # (B, 1, heads, V * points)
    # A pixel of one level is exact in float32, a row of all of them may not be.
    first = base.int().add((y * line + x).int(), alpha=heads).flatten(0, 2)
    below = (line * heads).int()
    index = torch.cat((first, first + heads, first + below, first + (below + heads)), 1)
    return index, across.flatten(0, 2), down.flatten(0, 2)


def _pixels(locations: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixel before each place, counted with the border, and how far behind it the place is."""
    pixels = (locations * size).sub_(0.5 - BORDER)
    # fmax takes NaN, too, to the border: it must not become the number of a row.
    pixels = pixels.fmax(pixels.new_zeros(())).minimum(size + float(BORDER))
    before = pixels.floor()
    return before, pixels.sub_(before)


def _shares(across: Tensor, down: Tensor, weight: Tensor) -> Tensor:
    """Return what the four neighbours of every place contribute (N, 4 * V * points), in the order of their rows."""
    bottom = weight * down
    top = weight - bottom
    bottom_right, top_right = bottom * across, top * across
    return torch.cat((top - top_right, top_right, bottom - bottom_right, bottom_right), 1)


def _gradient_of_shares(index: Tensor, gradient: Tensor, values: Tensor) -> Tensor:
    """Return products of the gradient (N, C) with the rows that were summed, in a third of ``embedding_bag``'s time."""
    count, size = index.shape
    rows = values.flatten(0, 2)
    starts = torch.arange(count + 1, dtype=index.dtype) * size
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse', UserWarning)  # that sparse matrices of this kind are new
        nothing = gradient.new_zeros(index.numel())
        bags = torch.sparse_csr_tensor(starts, index.flatten(), nothing, (count, len(rows)), check_invariants=False)
        products: Tensor = torch.sparse.sampled_addmm(bags, gradient, rows.T).values()
    return products.view_as(index)


def _gradient_of_rows(index: Tensor, shares: Tensor, gradient: Tensor, num_rows: int) -> Tensor:
    """Return the sums of the gradient (N, C) over the places of every row, in a third of ``embedding_bag``'s time."""
    count, size = index.shape
    starts = np.arange(count + 1, dtype=np.int32) * size
    bags = csr_array((shares.flatten().numpy(), index.flatten().numpy(), starts), shape=(count, num_rows))
    return torch.from_numpy(bags.T @ gradient.numpy())
