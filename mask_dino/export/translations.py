"""Operations of a program in operators of ONNX, where torch.onnx would have to decompose them or does not know them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset18 as op

from ..ops import tracing  # noqa: F401 defines the operations of torch.ops.mask_dino

aten = torch.ops.aten


def sample_levels(values: Any, sizes: Sequence[Any], locations: Any, weights: Any) -> Any:
    """Write the steps of :func:`~mask_dino.ops.grid_sampling.sample_grid`, in the same order, and return its value.

    Args:
        values: (B, L, heads, C).
        sizes: Height and width of each level, one after another: numbers, or scalars of the graph.
        locations: (B, Q, heads, V, points, 2).
        weights: (B, Q, heads, V, points).
    """
    heads, channels = values.shape[2:]
    levels, points = weights.shape[3:]
    queries = op.Shape(weights, start=1, end=2)
    grids = op.Sub(op.Mul(locations, 2.0), 1.0)
    grids = op.Transpose(grids, perm=[0, 2, 3, 4, 1, 5])  # (B, heads, V, points, Q, 2)
    weights = op.Transpose(weights, perm=[0, 2, 3, 4, 1])  # (B, heads, V, points, Q)
    tokens = op.Transpose(values, perm=[0, 2, 3, 1])  # (B, heads, C, L)
    grid_shape = _vector(-1, points, queries, 2)
    weight_shape = _vector(-1, 1, points, queries)
    start, total = _vector(0), None
    for level in range(levels):
        height, width = (_vector(size) for size in sizes[2 * level : 2 * level + 2])
        end = op.Add(start, op.Mul(height, width))
        maps = op.Slice(tokens, start, end, _vector(3))
        maps = op.Reshape(maps, _vector(-1, channels, height, width))  # (B * heads, C, h, w)
        grid = op.Reshape(_take(grids, level), grid_shape)
        weight = op.Reshape(_take(weights, level), weight_shape)
        sampled = op.GridSample(maps, grid)  # (B * heads, C, points, Q)
        summed = op.ReduceSum(op.Mul(sampled, weight), _vector(2), keepdims=0)
        total = summed if total is None else op.Add(total, summed)
        start = end
    sums = op.Reshape(total, _vector(-1, heads * channels, queries))
    return op.Transpose(sums, perm=[0, 2, 1])


def _take(values: Any, level: int) -> Any:
    """Return one level (B, heads, 1, ...) of values (B, heads, V, ...)."""
    return op.Slice(values, _vector(level), _vector(level + 1), _vector(2))


def _vector(*lengths: Any) -> Any:
    """Return a vector of lengths: numbers, or values of the graph that are scalars or vectors of one."""
    parts = []
    for length in lengths:
        if isinstance(length, int):
            parts.append(op.Constant(value_ints=[length]))
        else:
            parts.append(op.Reshape(length, op.Constant(value_ints=[1])))
    return op.Concat(*parts, axis=0) if len(parts) > 1 else parts[0]


def select_highest(scores: Any, count: int) -> Any:
    """Return the indices (B, Q) of the ``count`` highest scores (B, L), or of all where there are fewer."""
    number = op.Min(op.Shape(scores, start=1, end=2), _vector(count))
    _, indices = op.TopK(scores, number, axis=1)
    return indices


def normalise(values: Any, weight: Any, bias: Any, mean: Any, variance: Any, *options: Any) -> Any:
    """Return what batch norm in evaluation mode returns."""
    _, _, epsilon, *_ = options
    return op.BatchNormalization(values, weight, bias, mean, variance, epsilon=epsilon)


def cast(values: Any, dtype: int, *options: Any) -> Any:
    """Return values of another type; the type is ONNX's number for it."""
    return op.Cast(values, to=dtype)


def cast_on_device(values: Any, device: str, dtype: int, *options: Any) -> Any:
    """Return values of another type; a graph has no devices."""
    return op.Cast(values, to=dtype)


def cast_layout(values: Any, *, dtype: int, **options: Any) -> Any:
    """Return values of another type; a graph has no layouts."""
    return op.Cast(values, to=dtype)


TRANSLATIONS: dict[Callable, Callable] = {
    torch.ops.mask_dino.sample_levels.default: sample_levels,
    torch.ops.mask_dino.select_highest.default: select_highest,
    aten.batch_norm.default: normalise,
    aten.to.device: cast_on_device,
    aten.to.dtype: cast,
    aten.to.dtype_layout: cast_layout,
    aten.rsub.Scalar: lambda values, number: op.Sub(number, values),
    aten.__and__.Tensor: lambda first, second: op.And(first, second),
}
"""The keys are what :mod:`mask_dino.ops.tracing` and torch.export write."""
