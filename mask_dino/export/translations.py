"""Operations of a program in operators of ONNX, where torch.onnx would have to decompose them or does not know them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset18 as op

from ..ops import tracing  # noqa: F401 defines operations of torch.ops.mask_dino
from . import swin  # noqa: F401 defines others

aten = torch.ops.aten

FLOAT = 1  # ONNX's number for float32
END = 2**31 - 1  # as the end of a slice


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


def partition_windows(maps: Any, height: Any, width: Any, window: int, shift: int) -> Any:
    """Compute the same as :func:`~mask_dino.export.swin.partition_windows`, in operators that move whole slices.

    Args:
        maps: (B, H * W, C).
        height: H, a number or a scalar of the graph; so is ``width``.
        width: W.
        window: Side of a window.
        shift: By how much the padded map is rolled to the top and to the left beforehand.
    """
    channels = maps.shape[2]
    rows = _count_windows(height, window)
    columns = _count_windows(width, window)
    below = _padding(height, rows, window)
    right = _padding(width, columns, window)
    maps = op.Reshape(maps, _vector(-1, height, width, channels))
    maps = op.Pad(maps, _vector(0, 0, below, right), axes=_vector(1, 2))
    maps = _roll(maps, shift)
    maps = op.Reshape(maps, _vector(-1, rows, window, columns, window, channels))
    windows = op.Transpose(maps, perm=[0, 1, 3, 2, 4, 5])
    return op.Reshape(windows, _vector(-1, window * window, channels))


def merge_windows(
    windows: Any, batch: Any, height: Any, width: Any, window: int, shift: int
) -> Any:
    """Compute the same as :func:`~mask_dino.export.swin.merge_windows`."""
    channels = windows.shape[2]
    rows = _count_windows(height, window)
    columns = _count_windows(width, window)
    windows = op.Reshape(windows, _vector(-1, rows, columns, window, window, channels))
    maps = op.Transpose(windows, perm=[0, 1, 3, 2, 4, 5])
    padded_height = op.Mul(rows, _vector(window))
    padded_width = op.Mul(columns, _vector(window))
    maps = op.Reshape(maps, _vector(-1, padded_height, padded_width, channels))
    maps = _roll(maps, -shift)
    maps = op.Slice(maps, _vector(0, 0), _vector(height, width), _vector(1, 2))
    return op.Reshape(maps, _vector(batch, -1, channels))


def mask_regions(windows: Any, height: Any, width: Any, window: int, shift: int) -> Any:
    """Compute the same as :func:`~mask_dino.export.swin.mask_regions`."""
    rows = _count_windows(height, window)
    columns = _count_windows(width, window)
    tokens = window * window
    row_regions = op.Mul(_number_regions(rows, window, shift), 3.0)
    row_regions = op.Reshape(row_regions, _vector(-1, 1, window, 1))
    column_regions = _number_regions(columns, window, shift)
    column_regions = op.Reshape(column_regions, _vector(1, -1, 1, window))
    regions = op.Add(row_regions, column_regions)  # (rows, columns, window, window)
    first = op.Reshape(regions, _vector(1, -1, 1, tokens))
    second = op.Reshape(regions, _vector(1, -1, tokens, 1))
    mask = op.Where(op.Equal(first, second), 0.0, -100.0)
    total = op.Shape(windows, start=0, end=1)
    batch = op.Div(total, op.Mul(rows, columns))
    mask = op.Expand(mask, _vector(batch, 1, 1, 1))
    return op.Reshape(mask, _vector(-1, tokens, tokens))


def _number_regions(count: Any, window: int, shift: int) -> Any:
    """Return the region of each position on a rolled side: 0, 1 or 2."""
    length = op.Mul(count, _vector(window))
    length = op.Squeeze(length, _vector(0))
    positions = op.Range(0, length, 1)
    rest = op.Sub(length, positions)
    is_last = op.LessOrEqual(rest, window)
    is_rolled = op.LessOrEqual(rest, shift)
    return op.Add(op.Cast(is_last, to=FLOAT), op.Cast(is_rolled, to=FLOAT))


def _count_windows(length: Any, window: int) -> Any:
    """Return how many windows cover a side, as a vector of one."""
    raised = op.Add(_vector(length), _vector(window - 1))
    return op.Div(raised, _vector(window))


def _padding(length: Any, count: Any, window: int) -> Any:
    """Return by how much a side is padded to whole windows, as a vector of one."""
    padded = op.Mul(count, _vector(window))
    return op.Sub(padded, _vector(length))


def _roll(maps: Any, shift: int) -> Any:
    """Shift maps (B, H, W, C) to the left and upwards; what falls out comes in on the other side."""
    if not shift:
        return maps
    for axis in (1, 2):
        rest = op.Slice(maps, _vector(shift), _vector(END), _vector(axis))
        cut = op.Slice(maps, _vector(0), _vector(shift), _vector(axis))
        maps = op.Concat(rest, cut, axis=axis)
    return maps


TRANSLATIONS: dict[Callable, Callable] = {
    torch.ops.mask_dino.sample_levels.default: sample_levels,
    torch.ops.mask_dino.select_highest.default: select_highest,
    torch.ops.mask_dino.partition_windows.default: partition_windows,
    torch.ops.mask_dino.merge_windows.default: merge_windows,
    torch.ops.mask_dino.mask_regions.default: mask_regions,
    aten.batch_norm.default: normalise,
    aten.to.device: cast_on_device,
    aten.to.dtype: cast,
    aten.to.dtype_layout: cast_layout,
    aten.rsub.Scalar: lambda values, number: op.Sub(number, values),
    aten.__and__.Tensor: lambda first, second: op.And(first, second),
}
"""The keys are what :mod:`mask_dino.ops.tracing` and torch.export write."""
