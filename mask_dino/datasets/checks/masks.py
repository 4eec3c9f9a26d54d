"""Which segmentations of a COCO file can be turned into a mask.

pycocotools trusts what it is given: an infinite polygon keeps it busy for ever, and a run-length code shorter than its
image makes it read foreign memory. Hence nothing goes there that has not passed here.
"""

import math
from typing import Any

import numpy as np

NO_PIXEL = 'has a polygon that encloses no pixel of the image'
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
    problems = (polygon_problem(polygon, width, height) for polygon in segmentation)
    return next(filter(None, problems), None)


def usable_mask(segmentation: Any, width: int, height: int) -> list | dict | None:
    """Return a segmentation without its unusable polygons, or None if nothing is left."""
    if isinstance(segmentation, list):
        return [polygon for polygon in segmentation if polygon_problem(polygon, width, height) is None] or None
    return segmentation if mask_problem(segmentation, width, height) is None else None


def polygon_problem(polygon: Any, width: int, height: int) -> str | None:
    """Say what keeps a flat list of coordinates x, y, x, y, ... from enclosing pixels of the image."""
    try:
        xs, ys = polygon[0::2], polygon[1::2]
        finite = math.isfinite(sum(polygon))
    except TypeError:
        return 'has a polygon that is not a flat list of numbers x, y, x, y, ...'
    if not finite:
        return 'has a polygon with coordinates that are not finite'
    if len(polygon) < 6 or len(polygon) % 2:
        return 'has a polygon of fewer than three points, or with half a point'
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    if right <= max(left, 0) or left >= width or bottom <= max(top, 0) or top >= height:
        return NO_PIXEL
    return None


def _rle_problem(code: dict, width: int, height: int) -> str | None:
    size, counts = code.get('size'), code.get('counts')
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        return 'is a run-length code whose size is not [height, width] of its image'
    try:
        runs = np.asarray(counts) if isinstance(counts, list) else decode_counts(counts)
    except (TypeError, ValueError):
        return 'is a run-length code whose counts cannot be read'
    if runs.ndim != 1 or runs.dtype.kind != 'i' or (runs < 0).any() or runs.sum() != width * height:
        return 'is a run-length code whose counts do not add up to the pixels of its image'
    return None


def decode_counts(text: Any) -> np.ndarray:
    """Return the run lengths that COCO's compressed run-length code stands for.

    Raises:
        TypeError, ValueError: If it is no such code.
    """
    codes = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        raise ValueError('characters out of range')
    # Numbers are written in groups of five bits, the lowest first; the sixth bit says that another follows.
    ends = np.flatnonzero((codes & 0x20) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > MAX_CHARACTERS:
        raise ValueError('a number out of range')
    places = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 0x1F) << places, starts)
    runs -= np.where(codes[ends] & 0x10, np.int64(1) << 5 * lengths, 0)
    # From the fourth on, a run is written as the difference to the one before the last.
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs
