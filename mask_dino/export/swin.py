"""The window attention of Swin in a form that a trace can record for any batch and size.

The form of MMDetection and MMSegmentation computes the number of images from the number of windows as a quotient of
floats, and numbers the regions of a shifted map in slices. A trace then holds for the number of images of its example
only. The form of this module moves every token by its index. The weights remain in the modules of the frameworks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..ops.tracing import define_operation, wants_single_operations

WINDOW_ATTENTIONS = (
    'mmdet.models.backbones.swin.ShiftWindowMSA',
    'mmseg.models.backbones.swin.ShiftWindowMSA',
)
"""The same module in both frameworks; MMSegmentation may be missing."""


@contextmanager
def windows_of_any_size(network: nn.Module) -> Iterator[None]:
    """Let the window attentions of a network take any batch and size in traces that are made meanwhile."""
    attentions: list[Any] = [module for module in network.modules() if _is_window_attention(module)]
    for attention in attentions:
        attention.forward = partial(attend_in_windows, attention)
    try:
        yield
    finally:
        for attention in attentions:
            del attention.forward  # uncovers the method of the class


def _is_window_attention(module: nn.Module) -> bool:
    kind = type(module)
    return f'{kind.__module__}.{kind.__qualname__}' in WINDOW_ATTENTIONS


def attend_in_windows(attention: Any, query: Tensor, hw_shape: Sequence[int]) -> Tensor:
    """Return what a ``ShiftWindowMSA`` returns for maps (B, H * W, C), with the same bits, by its own modules."""
    height, width = hw_shape
    window, shift = attention.window_size, attention.shift_size
    single = wants_single_operations()
    partition = partition_windows_once if single else partition_windows
    merge = merge_windows_once if single else merge_windows
    make_mask = mask_regions_once if single else mask_regions
    windows = partition(query, height, width, window, shift)
    mask = make_mask(windows, height, width, window, shift) if shift else None
    windows = attention.w_msa(windows, mask=mask)
    maps = merge(windows, query.shape[0], height, width, window, shift)
    result: Tensor = attention.drop(maps)
    return result


def partition_windows(maps: Tensor, height: int, width: int, window: int, shift: int) -> Tensor:
    """Cut maps, padded at the bottom and on the right, into windows.

    Args:
        maps: (B, H * W, C).
        height: H.
        width: W.
        window: Side of a window.
        shift: By how much the padded map is rolled to the top and to the left beforehand.

    Returns:
        (B * windows, window * window, C).
    """
    rows, columns = _locate_tokens(maps, height, width, window)
    batch, _, channels = maps.shape
    y = (rows + shift) % _padded_length(height, window)
    x = (columns + shift) % _padded_length(width, window)
    is_inside = (y < height) & (x < width)
    padding = height * width  # the index of a token of zeros, which is appended
    index = torch.where(is_inside, y * width + x, padding)
    zeros = maps.new_zeros(batch, 1, channels)
    tokens = torch.cat((maps, zeros), 1)
    windows = tokens.index_select(1, index)
    return windows.reshape(-1, window * window, channels)


def merge_windows(
    windows: Tensor, batch: int, height: int, width: int, window: int, shift: int
) -> Tensor:
    """Return the maps (B, H * W, C) of windows; the inverse of :func:`partition_windows`."""
    tokens = torch.arange(height * width, device=windows.device)
    rows = tokens // width
    columns = tokens % width
    y = (rows - shift) % _padded_length(height, window)
    x = (columns - shift) % _padded_length(width, window)
    number = y // window * _count_windows(width, window) + x // window
    place = y % window * window + x % window
    index = number * window * window + place
    tokens_of_windows = windows.reshape(batch, -1, windows.shape[-1])
    return tokens_of_windows.index_select(1, index)


def mask_regions(windows: Tensor, height: int, width: int, window: int, shift: int) -> Tensor:
    """Return the mask of the attention in windows of a rolled map, whose last windows have tokens of several regions.

    Args:
        windows: (B * windows, window * window, C).
        height: Of the maps before they were padded.
        width: Of the maps before they were padded.
        window: Side of a window.
        shift: By how much the maps were rolled, more than 0.

    Returns:
        (B * windows, window * window, window * window): -100 for two tokens of different regions, else 0.
    """
    tokens = window * window
    rows, columns = _locate_tokens(windows, height, width, window)
    row_regions = _number_regions(rows, _padded_length(height, window), window, shift)
    column_regions = _number_regions(columns, _padded_length(width, window), window, shift)
    regions = 3 * row_regions + column_regions
    regions = regions.view(-1, tokens)
    is_same = regions[:, None] == regions[:, :, None]
    mask = torch.where(is_same, 0.0, -100.0)
    batch = windows.shape[0] // mask.shape[0]
    mask = mask.expand(batch, -1, -1, -1)
    return mask.reshape(-1, tokens, tokens)


def _locate_tokens(maps: Tensor, height: int, width: int, window: int) -> tuple[Tensor, Tensor]:
    """Return row and column (windows * window * window) in the rolled map of each token of all windows."""
    columns = _count_windows(width, window)
    # The number is read from a tensor, so that a trace does not know it. A trace that knows whether there is one window
    # or more holds only for that case.
    total = torch.scalar_tensor(_count_windows(height, window) * columns, dtype=torch.int64)
    count = total.item()
    tokens = torch.arange(count * window * window, device=maps.device)
    number = tokens // (window * window)
    rows_inside = tokens // window % window
    columns_inside = tokens % window
    y = number // columns * window + rows_inside
    x = number % columns * window + columns_inside
    return y, x


def _number_regions(positions: Tensor, length: int, window: int, shift: int) -> Tensor:
    """Return the region of each position on a rolled side: 0, 1 or 2."""
    is_last = positions >= length - window
    is_rolled = positions >= length - shift
    return is_last.long() + is_rolled.long()


def _count_windows(length: int, window: int) -> int:
    """Return how many windows cover a side."""
    return (length + window - 1) // window


def _padded_length(length: int, window: int) -> int:
    """Return the length of a side that is padded to whole windows."""
    return _count_windows(length, window) * window


def _partition_windows_fake(
    maps: Tensor, height: int, width: int, window: int, shift: int
) -> Tensor:
    count = torch.library.get_ctx().new_dynamic_size(min=1)
    return maps.new_empty(count, window * window, maps.shape[-1])


def _merge_windows_fake(
    windows: Tensor, batch: int, height: int, width: int, window: int, shift: int
) -> Tensor:
    return windows.new_empty(batch, height * width, windows.shape[-1])


def _mask_regions_fake(windows: Tensor, height: int, width: int, window: int, shift: int) -> Tensor:
    count, tokens, _ = windows.shape
    return windows.new_empty(count, tokens, tokens)


partition_windows_once = define_operation(
    'partition_windows', partition_windows, _partition_windows_fake
)
merge_windows_once = define_operation('merge_windows', merge_windows, _merge_windows_fake)
mask_regions_once = define_operation('mask_regions', mask_regions, _mask_regions_fake)
