"""Which segmentations of a COCO file can be turned into a mask, and the extent of that mask.

pycocotools does not check its input: an infinite polygon keeps it busy for ever, and a run-length code shorter than
its image makes it read memory of others. Therefore every segmentation is checked here first.
"""

import math
from collections.abc import Sequence
from itertools import chain
from operator import mul
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask

NO_PIXEL = 'has a polygon that encloses no pixel of the image'
EMPTY_CODE = 'is a run-length code without a pixel'
FAR = 100_000
"""Pixels outside the image at which a coordinate counts as wrong: pycocotools' time and memory grow with it."""
MAX_CHARACTERS = 12
"""Characters of five bits that a number of a compressed run-length code may take."""


def mask_problem(segmentation: Any, width: int, height: int) -> str | None:
    """Say what keeps a segmentation, or a part of it, from becoming a mask of ``width`` x ``height`` pixels."""
    if not segmentation:
        return 'is missing or empty'
    if isinstance(segmentation, dict):
        return _rle_problem(segmentation, width, height)
    if not isinstance(segmentation, list):
        return 'is neither a list of polygons nor a run-length code'
    if problem := _nesting_problem(segmentation):
        return problem
    problems = (polygon_problem(polygon, width, height) for polygon in segmentation)
    return next(filter(None, problems), None)


def _nesting_problem(segmentation: list) -> str | None:
    """Say how a list differs from a list of polygons, each a flat list of numbers."""
    first = segmentation[0]
    if isinstance(first, dict) and 'counts' in first:
        return 'is a run-length code inside of a list'
    if isinstance(first, (int, float)):
        return 'is one list of numbers, which is not inside of another list'
    if isinstance(first, list) and first and isinstance(first[0], (list, dict)):
        return 'has points as lists or objects of their own, not as x, y, x, y, ... in one list'
    return None


def usable_mask(segmentation: Any, width: int, height: int) -> list | dict | None:
    """Return a segmentation without its unusable polygons, or None if nothing is left."""
    if isinstance(segmentation, list):
        return [
            polygon for polygon in segmentation if polygon_problem(polygon, width, height) is None
        ] or None
    return segmentation if mask_problem(segmentation, width, height) is None else None


def polygon_problem(polygon: Any, width: int, height: int) -> str | None:
    """Say what keeps a flat list of coordinates x, y, x, y, ... from enclosing pixels of the image."""
    try:
        xs, ys = polygon[0::2], polygon[1::2]
        finite = math.isfinite(sum(polygon))
    except (OverflowError, TypeError):
        return 'has a polygon that is not a flat list of numbers x, y, x, y, ...'
    if not finite:
        return 'has a polygon with coordinates that are not finite'
    if len(polygon) < 6 or len(polygon) % 2:
        return 'has a polygon of fewer than three points, or with half a point'
    left, right = min(xs), max(xs)
    top, bottom = min(ys), max(ys)
    if right <= 0 or left >= width or bottom <= 0 or top >= height:
        return NO_PIXEL
    if min(left, top) < -FAR or right > width + FAR or bottom > height + FAR:
        return f'has a polygon that reaches more than {FAR} pixels beyond the image'
    # The shoelace formula.
    next_xs = xs[1:] + xs[:1]
    next_ys = ys[1:] + ys[:1]
    area = abs(sum(map(mul, xs, next_ys)) - sum(map(mul, ys, next_xs))) / 2
    is_thick = area > right - left + bottom - top + 2
    is_inside = left >= 0 and right <= width and top >= 0 and bottom <= height
    if is_thick and is_inside:
        return None  # quickly, as most polygons are
    return None if encloses_pixels(polygon, width, height) else NO_PIXEL


def encloses_pixels(polygon: Sequence[float], width: int, height: int) -> bool:
    """Tell whether pycocotools finds a pixel in a polygon of finite coordinates that lie near the image."""
    return bool(coco_mask.area(coco_mask.frPyObjects([polygon], height, width))[0])


def _rle_problem(code: dict, width: int, height: int) -> str | None:
    size, counts = code.get('size'), code.get('counts')
    if height != width and size == [width, height]:
        return 'is a run-length code whose size is [width, height], not [height, width]'
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        return 'is a run-length code whose size is not [height, width] of its image'
    try:
        runs = read_counts(counts)
    except (OverflowError, TypeError, ValueError):
        return 'is a run-length code whose counts cannot be read'
    if runs.dtype.kind != 'i':
        return 'is a run-length code whose counts are not whole numbers'
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != width * height:
        return 'is a run-length code whose counts do not add up to the pixels of its image'
    return None if runs[1::2].any() else EMPTY_CODE


def mask_extent(
    segmentation: list | dict, width: int, height: int
) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of the mask in pixels, clipped to the image.

    Args:
        segmentation: One that :func:`usable_mask` returned.
    """
    if isinstance(segmentation, dict):
        return _runs_extent(read_counts(segmentation['counts']), height)
    points = list(chain.from_iterable(segmentation))  # every polygon has as many x as y
    xs = points[0::2]
    ys = points[1::2]
    left = max(min(xs), 0)
    top = max(min(ys), 0)
    right = min(max(xs), width)
    bottom = min(max(ys), height)
    return left, top, right, bottom


def exchanged_extent(
    segmentation: list | dict, width: int, height: int
) -> tuple[float, float, float, float]:
    """Return the extent, unclipped, if polygons were y, x, y, x, ... and run lengths went along the rows."""
    if isinstance(segmentation, dict):
        top, left, bottom, right = _runs_extent(read_counts(segmentation['counts']), width)
        return left, top, right, bottom
    points = list(chain.from_iterable(segmentation))
    ys = points[0::2]
    xs = points[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _runs_extent(runs: np.ndarray, height: int) -> tuple[int, int, int, int]:
    """Return the extent of runs (R,) that alternate between outside and inside, and go down columns of a height."""
    ends = runs.cumsum()[1::2]
    starts = ends - runs[1::2]
    has_pixels = ends > starts
    starts, ends = starts[has_pixels], ends[has_pixels]
    first_columns, first_rows = np.divmod(starts, height)
    last_columns, last_rows = np.divmod(ends - 1, height)
    left, right = int(first_columns[0]), int(last_columns[-1])
    # A run over several columns reaches the bottom, and goes on at the top.
    if (first_columns != last_columns).any():
        return left, 0, right + 1, height
    top, bottom = int(first_rows.min()), int(last_rows.max())
    return left, top, right + 1, bottom + 1


def read_counts(counts: Any) -> np.ndarray:
    """Return run lengths (R,), given as a list or in COCO's compressed form.

    Raises:
        TypeError, ValueError: If they are neither.
    """
    return np.asarray(counts) if isinstance(counts, list) else decode_counts(counts)


def decode_counts(text: Any) -> np.ndarray:
    """Return the run lengths that COCO's compressed run-length code stands for.

    Raises:
        TypeError, ValueError: If it is no such code.
    """
    data = text.encode() if isinstance(text, str) else text
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        raise ValueError('characters out of range')
    # Numbers are written in groups of five bits, the lowest first; the sixth bit says that another follows.
    ends = np.flatnonzero((codes & 0x20) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > MAX_CHARACTERS:
        raise ValueError('a number out of range')
    group = np.arange(len(codes)) - np.repeat(starts, lengths)  # of a number, from 0
    bits = (codes & 0x1F) << 5 * group
    runs = np.add.reduceat(bits, starts)
    # The highest bit of the last group is the sign.
    is_negative = codes[ends] & 0x10
    runs -= np.where(is_negative, np.int64(1) << 5 * lengths, 0)
    # From the fourth on, a run is written as the difference to the one before the last.
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs
