"""Multi-scale deformable attention on any device, in training and in export."""

import logging
import math
from functools import cache

import torch
import torch.nn.functional as F
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from mmengine.logging import print_log
from torch import Tensor, nn

from ..structures import Memory
from .grid_sampling import sample_grid
from .neighbours import add_borders
from .sparse_sampling import sample_sparse, sum_points
from .tracing import (
    flatten_sizes,
    is_exporting,
    sample_levels_once,
    sample_sparse_once,
    wants_single_operations,
)

IM2COL_STEP = 64
"""Images that mmcv's kernel samples at once."""


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159) with its residual connection.

    Parameters have the names and initial values of mmcv's ``MultiScaleDeformableAttention``. Differs from it in three
    things. It does not ask the device in every call whether the levels have as many tokens as there are values. In
    mixed precision, the sampling stays in float32: mmcv's kernel has no bfloat16, and float16 locations are as coarse
    as a pixel on large maps. The sampling has three implementations, see :meth:`sample`.

    Raises:
        ValueError: ``embed_dims`` is not a multiple of ``num_heads``.
    """

    def __init__(self, embed_dims: int, num_heads: int, num_levels: int, num_points: int) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims={embed_dims} must be a multiple of num_heads={num_heads}')
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        num_locations = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, num_locations * 2)
        self.attention_weights = nn.Linear(embed_dims, num_locations)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self.output_proj = nn.Linear(embed_dims, embed_dims)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Start with equal weights and points on rays, one direction per head, as in Deformable DETR."""
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack((angles.cos(), angles.sin()), -1)  # (heads, 2)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1)[:, None]
        offsets = directions[:, None, None] * steps  # (heads, 1, points, 2) in pixels
        offsets = offsets.expand(-1, self.num_levels, -1, -1)
        self.sampling_offsets.bias.copy_(offsets.flatten())
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)

    def forward(
        self, query: Tensor, query_pos: Tensor, reference: Tensor, memory: Memory
    ) -> Tensor:
        """Add to the queries what they find at points of the memory.

        Args:
            query: (B, Q, C).
            query_pos: (B, Q, C), added to the queries before offsets and weights are computed from them.
            reference: Points (B, Q, V, 2) or cxcywh boxes (B, Q, V, 4) around which each of V levels is sampled, in
                [0, 1] of the padded input.
            memory: Tokens and sizes of the levels. No token is masked as padding.

        Returns:
            (B, Q, C).
        """
        points = self.choose_points(query + query_pos, reference, memory.spatial_shapes)
        sampled = self.sample(self.project(memory), memory, *points)
        output: Tensor = self.output_proj(sampled) + query
        return output

    def attend_to(
        self, bordered: Tensor, query: Tensor, query_pos: Tensor, reference: Tensor, memory: Memory
    ) -> Tensor:
        """Return what :meth:`forward` does, on a CPU without gradients, from the values of :meth:`project_bordered`.

        The values are computed once, for any number of calls with some of the queries.
        """
        points = self.choose_points(query + query_pos, reference, memory.spatial_shapes)
        sampled = sum_points(bordered, memory.sizes, *points)
        output: Tensor = self.output_proj(sampled) + query
        return output

    def project(self, memory: Memory) -> Tensor:
        """Return the values (B, L, heads, C / heads) of the tokens, in float32."""
        values = self.value_proj(memory.tokens).float()
        return values.unflatten(-1, (self.num_heads, -1))

    def project_bordered(self, memory: Memory) -> Tensor:
        """Return the values (B, L', heads, C / heads) of the tokens, in float32, with zeros around each map."""
        return add_borders(self.project(memory), memory.sizes)

    def choose_points(
        self, positioned: Tensor, reference: Tensor, spatial_shapes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return locations (B, Q, heads, V, points, 2) and weights (B, Q, heads, V, points) for queries (B, Q, C).

        A function of its own, so that its intermediate tensors are freed before the sampling, which needs most memory.
        """
        points = (self.num_levels, self.num_points)
        if reference.shape[-1] == 2:
            locations = self.locate_around_points(positioned, reference, spatial_shapes)
        else:
            locations = self.locate_around_boxes(positioned, reference.float())
        weights = self.attention_weights(positioned).float()
        weights = weights.unflatten(-1, (self.num_heads, -1))
        weights = weights.softmax(-1)  # over the points of all levels
        return locations, weights.unflatten(-1, points)

    def locate_around_points(
        self, positioned: Tensor, reference: Tensor, spatial_shapes: Tensor
    ) -> Tensor:
        """Return locations (B, Q, heads, V, points, 2) around points (B, Q, V, 2); offsets are in pixels.

        The weights of the layer are divided by the sizes of the levels, not its output, and the points are repeated
        before they are added: operations that repeat a short last dimension of large tensors are slow, on a CPU and in
        programs that run exported files.
        """
        shape = (self.num_heads, self.num_levels, self.num_points, 2)
        width_height = spatial_shapes.flip(1)[:, None]  # (V, 1, 2)
        divisor = width_height.expand(shape).flatten()
        layer = self.sampling_offsets
        weight = layer.weight / divisor[:, None]
        bias = layer.bias / divisor
        offsets = F.linear(positioned, weight, bias).float()
        offsets = offsets.unflatten(-1, (self.num_heads, -1))  # (B, Q, heads, V * points * 2)
        points = reference[:, :, :, None]  # (B, Q, V, 1, 2)
        repeated = points.expand(-1, -1, *shape[1:]).flatten(2)
        locations = repeated[:, :, None] + offsets
        return locations.unflatten(-1, shape[1:])

    def locate_around_boxes(self, positioned: Tensor, reference: Tensor) -> Tensor:
        """Return locations (B, Q, heads, V, points, 2) around boxes (B, Q, V, 4).

        An offset of ``num_points`` is half a box.
        """
        offsets = self.sampling_offsets(positioned).float()
        offsets = offsets.unflatten(-1, (self.num_heads, self.num_levels, self.num_points, 2))
        boxes = reference[:, :, None, :, None]  # (B, Q, 1, V, 1, 4)
        center = boxes[..., :2]
        size = boxes[..., 2:]
        return center + offsets / self.num_points * size * 0.5

    def sample(self, values: Tensor, memory: Memory, locations: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sums (B, Q, C) of values (B, L, heads, C / heads) by the fastest way there is.

        - mmcv's kernel, where it is compiled for the device of the values.
        - Sparse products on a CPU.
        - ``grid_sample`` on other devices, and while the network is exported: other programs know this operation.
        """
        if wants_single_operations():
            return sample_levels_once(values, flatten_sizes(memory.sizes), locations, weights)
        if is_exporting():
            return sample_grid(values, memory.sizes, locations, weights)
        if values.is_cpu and torch.compiler.is_compiling():
            return sample_sparse_once(values, flatten_sizes(memory.sizes), locations, weights)
        if values.is_cpu:
            return sample_sparse(values, memory.sizes, locations, weights)
        return sample_on_accelerator(values, memory, locations, weights)


@torch.compiler.disable
def sample_on_accelerator(
    values: Tensor, memory: Memory, locations: Tensor, weights: Tensor
) -> Tensor:
    """See :meth:`DeformableAttention.sample`. torch.compile cannot look into mmcv's kernel."""
    if not has_kernel(values.device):
        return sample_grid(values, memory.sizes, locations, weights)
    sums: Tensor = MultiScaleDeformableAttnFunction.apply(
        values,
        memory.spatial_shapes,
        memory.level_start_index,
        locations,
        weights,
        IM2COL_STEP,
    )
    return sums


@cache
def has_kernel(device: torch.device) -> bool:
    """Tell whether mmcv's kernel works on a device, by sampling one value; once per device, this waits for it.

    A kernel can be missing because mmcv was built without the compiler of the device, or for another generation of it.
    """
    value = torch.ones(1, 1, 1, 1, device=device)
    shape = torch.ones(1, 2, dtype=torch.long, device=device)
    start = torch.zeros(1, dtype=torch.long, device=device)
    location = torch.full((1, 1, 1, 1, 1, 2), 0.5, device=device)
    weight = torch.ones(1, 1, 1, 1, 1, device=device)
    try:
        sampled = MultiScaleDeformableAttnFunction.apply(value, shape, start, location, weight, 1)
        if sampled.item() == 1:
            return True
    except RuntimeError:
        pass
    print_log(
        f'mmcv has no compiled deformable attention for {device}: a slower implementation is used, with the same '
        'results. To make it fast, build mmcv from source on this machine with the compiler of the device (for NVIDIA: '
        'nvcc and FORCE_CUDA=1)',
        logger='current',
        level=logging.WARNING,
    )
    return False
