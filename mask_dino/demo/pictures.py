"""Pictures of what was found, with names that can be read."""

import numpy as np
from PIL import Image, ImageDraw

from ..runtime import Result
from ..runtime.drawing import draw_instances, draw_segments, load_font, write_label
from ..runtime.postprocess import INSTANCE_OFFSET
from .findings import View

SMALLEST_PICTURE_SIDE = 640
"""Pixels: a smaller picture is enlarged by a whole factor, so that its names fit."""

NAMED_SHARE = 0.005
"""Of the picture: smaller areas of a map have no name in it."""


def draw_view(result: Result, view: View) -> np.ndarray:
    """Return the picture (h, w, 3) uint8 RGB of instances, panoptic or semantic map."""
    large = enlarge_result(result)
    if view is View.PANOPTIC and large.panoptic is not None:
        return draw_named_segments(large, large.panoptic)
    if view is View.SEMANTIC and large.semantic is not None:
        return draw_named_segments(large, large.semantic)
    return draw_instances(large, score_thr=0) if large.boxes is not None else large.image


def enlarge_result(result: Result) -> Result:
    """Return a result whose picture has sides of at least :data:`SMALLEST_PICTURE_SIDE` pixels."""
    height, width = result.image.shape[:2]
    factor = -(-SMALLEST_PICTURE_SIDE // max(height, width))
    if factor == 1:
        return result
    image = Image.fromarray(result.image)
    size = (width * factor, height * factor)
    return Result(
        np.asarray(image.resize(size, Image.Resampling.BICUBIC)),
        result.classes,
        result.palette,
        boxes=None if result.boxes is None else result.boxes * factor,
        labels=result.labels,
        scores=result.scores,
        masks=_repeat(result.masks, factor),
        panoptic=_repeat(result.panoptic, factor),
        semantic=_repeat(result.semantic, factor),
    )


def draw_named_segments(result: Result, ids: np.ndarray) -> np.ndarray:
    """Return the image (H, W, 3) in the colours of its segments, with the name of each large one.

    Args:
        ids: (H, W) class + INSTANCE_OFFSET * number.
    """
    picture = Image.fromarray(draw_segments(result.image, ids, result.palette))
    pen = ImageDraw.Draw(picture)
    font = load_font(picture.size)
    segments, areas = np.unique(ids, return_counts=True)
    for segment, area in zip(segments.tolist(), areas.tolist(), strict=True):
        label = segment % INSTANCE_OFFSET
        if label >= len(result.classes) or area < NAMED_SHARE * ids.size:
            continue
        text = result.classes[label]
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        x, y = _find_middle(ids == segment)
        corner = (max(x - (right - left) / 2, 0), max(y - (bottom - top) / 2, 0))
        write_label(pen, text, corner, font, result.palette[label])
    return np.asarray(picture)


def _find_middle(mask: np.ndarray) -> tuple[float, float]:
    """Return x and y of the pixel of a mask (H, W) that is nearest to the mask's centre."""
    rows, columns = np.nonzero(mask)
    distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = distance.argmin()
    return float(columns[nearest]), float(rows[nearest])


def _repeat(maps: np.ndarray | None, factor: int) -> np.ndarray | None:
    """Repeat every pixel of (..., H, W) maps."""
    return None if maps is None else maps.repeat(factor, -2).repeat(factor, -1)
