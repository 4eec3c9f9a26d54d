"""Pictures of results, drawn with Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .postprocess import INSTANCE_OFFSET

if TYPE_CHECKING:
    from .result import Result

OPACITY = 0.5
"""Of the colour of a mask."""

EDGE = 0.45
"""Brightness of the edges of segments, as a share of their colour."""


def draw_result(result: Result, score_thr: float) -> np.ndarray:
    """Return the pictures (H, W * parts, 3) uint8 of all that a result holds, side by side."""
    pictures = []
    if result.boxes is not None:
        pictures.append(draw_instances(result, score_thr))
    if result.panoptic is not None:
        pictures.append(draw_segments(result.image, result.panoptic, result.palette))
    if result.semantic is not None:
        pictures.append(draw_segments(result.image, result.semantic, result.palette))
    return np.concatenate(pictures or [result.image], axis=1)


def draw_instances(result: Result, score_thr: float) -> np.ndarray:
    """Return the image (H, W, 3) with boxes, masks, names and scores of the instances above a threshold."""
    assert result.boxes is not None and result.scores is not None and result.labels is not None
    shown = np.flatnonzero(result.scores >= score_thr)[::-1]  # the best is drawn last
    colours = np.array(result.palette, np.uint8)
    pixels = result.image.copy()
    if result.masks is not None:
        for index in shown:
            _paint(pixels, result.masks[index], colours[result.labels[index]])
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    thickness = max(1, min(picture.size) // 250)
    font = load_font(picture.size)
    for index in shown:
        colour = tuple(int(value) for value in colours[result.labels[index]])
        box = _inside(result.boxes[index], picture.size)
        pen.rectangle(box, outline=colour, width=thickness)
        text = f'{result.classes[result.labels[index]]} {result.scores[index]:.2f}'
        write_label(pen, text, (box[0], box[1]), font, colour)
    return np.asarray(picture)


def draw_segments(
    image: np.ndarray, segments: np.ndarray, palette: tuple[tuple[int, int, int], ...]
) -> np.ndarray:
    """Return the image (H, W, 3) in the colours of its segments, with dark edges between them.

    Args:
        segments: (H, W) ids; class + INSTANCE_OFFSET * number, and the number of classes where there is no segment.
    """
    colours = np.array([*palette, (0, 0, 0)], np.float32)
    classes = np.minimum(segments % INSTANCE_OFFSET, len(palette))
    tint = colours[classes]
    edges = np.zeros(segments.shape, bool)
    edges[1:] |= segments[1:] != segments[:-1]
    edges[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    tint[edges] *= EDGE
    blended = image * (1 - OPACITY) + tint * OPACITY
    untouched = classes == len(palette)
    blended[untouched] = image[untouched]
    return blended.astype(np.uint8)


def load_font(size: tuple[int, int]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font for the names in a picture of a size (width, height)."""
    return ImageFont.load_default(size=max(10, min(size) // 40))


def _paint(pixels: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Tint the pixels (H, W, 3) of a mask (H, W), in place."""
    pixels[mask] = (pixels[mask] * (1 - OPACITY) + colour * OPACITY).astype(np.uint8)


def _inside(box: np.ndarray, size: tuple[int, int]) -> list[float]:
    """Return a box x1, y1, x2, y2 whose corners lie in an image of ``size`` (width, height), in their order."""
    limits = np.array([size[0] - 1, size[1] - 1] * 2)
    x1, y1, x2, y2 = np.nan_to_num(box).clip(0, limits).tolist()
    return [x1, y1, max(x1, x2), max(y1, y2)]


def write_label(
    pen: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, ...],
) -> None:
    """Write on a ground of a colour, black or white, whichever is easier to read."""
    red, green, blue = colour
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    is_bright = brightness > 128
    ground = pen.textbbox(corner, text, font=font)
    pen.rectangle(ground, fill=colour)
    pen.text(corner, text, fill='black' if is_bright else 'white', font=font)
