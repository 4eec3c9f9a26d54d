"""From an image to what the network takes: reading, resizing, normalising, padding."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from .metadata import InputRule, PaddingRule, ResizeRule

ImageLike = str | os.PathLike[str] | np.ndarray | Image.Image

GREY_16_BITS = ('I;16', 'I;16B', 'I;16L', 'I;16N')
"""Modes of Pillow for grey values from 0 to 65535."""

REFUSED_MODES = dict(F='floating-point pixels', I='32-bit pixels', LAB='pixels of CIE Lab')
"""Modes of Pillow that OpenCV refuses or reads in another way, and what they are."""

EXTRA_SAMPLES = 338
"""Tag of TIFF files that says what the fourth channel is."""

COEFFICIENT_BITS = 11
"""Bits of a weight in OpenCV's bilinear interpolation of bytes."""


class ImageError(ValueError):
    """An image cannot be used: the message names it, what is wrong with it and the remedy."""


class Prepared(NamedTuple):
    """An image at the size that the network sees, not yet padded."""

    original: np.ndarray  # (H, W, 3) uint8 RGB
    resized: np.ndarray  # (h, w, 3) uint8 RGB


def load_image(image: ImageLike) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 RGB, rotated as its EXIF entry says.

    Args:
        image: Path of a file; an image of Pillow; or an array (H, W, 3) uint8 RGB.

    Raises:
        ImageError: If the file is missing or damaged, or if the image has another type or shape.
    """
    if isinstance(image, np.ndarray):
        return _check_array(image)
    if isinstance(image, Image.Image):
        return _to_rgb(image, 'an image')
    if not isinstance(image, (str, os.PathLike)):
        raise ImageError(
            f'an image has the type {type(image).__name__}: give a path, an array or an image of Pillow'
        )
    path = Path(image).expanduser()
    if not path.is_file():
        problem = 'is a folder, not a file' if path.is_dir() else 'does not exist'
        raise ImageError(f'image {path} {problem}; relative paths start at {Path.cwd()}')
    try:
        with Image.open(path) as file:
            return _to_rgb(file, f'image {path}')
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f'image {path} is too large: reduce it first ({error})') from error
    except Exception as error:  # for damaged files, Pillow's readers raise many kinds
        raise ImageError(
            f'image {path} cannot be read: it is damaged, cut short or not an image ({error})'
        ) from error


def _check_array(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(
            f'an image has the type {image.dtype} and the shape {image.shape}, but an array must be uint8, '
            '(height, width, 3), with the channels red, green, blue. Convert it: floats from 0 to 1 with '
            '(image * 255).round().astype(np.uint8), 16 bits with (image >> 8).astype(np.uint8), grey values with '
            'np.stack([image] * 3, -1), OpenCV images with image[..., ::-1]'
        )
    return image


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """Return the pixels (H, W, 3) uint8 that OpenCV reads from the same file."""
    if min(image.size) < 1:
        raise ImageError(f'{name} has no pixels: its size is {image.width} x {image.height}')
    upright = ImageOps.exif_transpose(image)
    mode = upright.mode
    # Before version 12, Pillow had this mode for 16-bit PNG files; it still has it for 16-bit PGM files.
    if mode in GREY_16_BITS or (mode == 'I' and image.format in ('PNG', 'PPM')):
        grey = (np.asarray(upright) >> 8).astype(np.uint8)  # Pillow would clip to 255
        return np.repeat(grey[..., None], 3, axis=2)
    if mode in REFUSED_MODES:
        raise ImageError(f'{name} has {REFUSED_MODES[mode]}: convert it to 8 bits and RGB')
    if mode == 'CMYK' and isinstance(image, JpegImageFile):
        return _ink_to_rgb(np.asarray(upright))
    if mode == 'RGBA' and isinstance(image, TiffImageFile) and EXTRA_SAMPLES in image.tag_v2:
        return _blend_with_black(np.asarray(upright))
    return np.asarray(upright.convert('RGB'))


def _ink_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Return RGB for cyan, magenta, yellow and black (H, W, 4), which OpenCV rounds in another way than Pillow."""
    ink = pixels[..., :3].astype(np.uint16)
    light = 255 - pixels[..., 3:].astype(np.uint16)
    return (light - (ink * light >> 8)).astype(np.uint8)


def _blend_with_black(pixels: np.ndarray) -> np.ndarray:
    """Return RGB for RGBA (H, W, 4); OpenCV does so with TIFF files, while it leaves alpha out of other files."""
    colour = pixels[..., :3].astype(np.uint16)
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((colour * alpha + 127) // 255).astype(np.uint8)


def prepare_image(image: ImageLike, rule: ResizeRule) -> Prepared:
    """Load and resize an image. The errors are the same as for :func:`load_image`."""
    original = load_image(image)
    height, width = resized_size(original.shape[:2], rule)
    if min(height, width) < 1:
        raise ImageError(
            f'an image of {original.shape[1]} x {original.shape[0]} pixels (width x height) is too long and narrow: '
            f'the model takes it at {width} x {height}; cut it into parts'
        )
    return Prepared(original, resize_image(original, height, width))


def resized_size(size: Sequence[int], rule: ResizeRule) -> tuple[int, int]:
    """Return the height and width of an image of ``size`` (height, width) after resizing."""
    height, width = size
    if rule.shortest_edge is not None:
        return _by_shortest_edge(height, width, rule)
    scale = rule.scale
    if rule.factor is not None:
        scale = (_round(width * rule.factor[0]), _round(height * rule.factor[1]))
    if scale is None:
        return height, width
    if not rule.keep_ratio:
        return scale[1], scale[0]
    factor = min(max(scale) / max(size), min(scale) / min(size))
    return _round(height * factor), _round(width * factor)


def _by_shortest_edge(height: int, width: int, rule: ResizeRule) -> tuple[int, int]:
    """Scale the shortest edge to a length, unless the longest one becomes longer than its limit."""
    edge = float(rule.shortest_edge or 0)
    scale = edge / min(height, width)
    new_height, new_width = (edge, scale * width) if height < width else (scale * height, edge)
    longest = max(new_height, new_width)
    if rule.max_size is not None and longest > rule.max_size:
        shrink = rule.max_size / longest
        new_height, new_width = new_height * shrink, new_width * shrink
    # mmseg hands the result to Resize with keep_ratio, which computes once more.
    limits = ResizeRule((_round(new_width), _round(new_height)), keep_ratio=True)
    return resized_size((height, width), limits)


def _round(value: float) -> int:
    return int(value + 0.5)


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (H, W, C) uint8 as OpenCV does with ``INTER_LINEAR``, bit by bit.

    Pillow's own filter averages where it shrinks, which gives other pixels than the network was trained with.
    """
    if image.shape[:2] == (height, width):
        return image
    if image.shape[:2] == (2 * height, 2 * width):
        return _halve(image)
    top, bottom, row_weights = _bilinear(image.shape[0], height)
    left, right, column_weights = _bilinear(image.shape[1], width)
    first = column_weights[:, :1]
    second = column_weights[:, 1:]

    def widen(rows: np.ndarray) -> np.ndarray:
        lines = image[rows]
        return (lines[:, left] * first + lines[:, right] * second) >> 4

    upper = (widen(top) * row_weights[:, :1, None]) >> 16
    lower = (widen(bottom) * row_weights[:, 1:, None]) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _halve(image: np.ndarray) -> np.ndarray:
    """Average blocks of 2 x 2 pixels, to which OpenCV turns for exactly half the size."""
    height, width, channels = image.shape
    blocks = image.reshape(height // 2, 2, width // 2, 2, channels)
    return ((blocks.sum((1, 3), dtype=np.uint16) + 2) >> 2).astype(np.uint8)


def _bilinear(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two pixels that each of ``target`` pixels lies between, and their integer weights (target, 2)."""
    scale = 1.0 / (target / source)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    floor = np.floor(position)
    fraction = position - floor
    shares = np.stack((np.float32(1) - fraction, fraction), -1)
    weights = np.rint(shares * np.float32(1 << COEFFICIENT_BITS))
    before = floor.astype(np.int64)
    first = before.clip(0, source - 1)
    second = (before + 1).clip(0, source - 1)
    return first, second, weights.astype(np.int32)


def padded_size(sizes: Sequence[tuple[int, int]], rule: PaddingRule) -> tuple[int, int]:
    """Return the height and width that images of several sizes (height, width) are padded to together."""
    limits = np.array([*sizes, rule.size or (0, 0)])
    height, width = limits.max(0).tolist()
    return round_up(height, rule.divisor), round_up(width, rule.divisor)


def round_up(length: int, divisor: int) -> int:
    """Return the next multiple of a number."""
    return -(-length // divisor) * divisor


def make_batch(images: Sequence[np.ndarray], rule: InputRule, size: tuple[int, int]) -> np.ndarray:
    """Return what the network takes: (B, 3, *size) float32, normalised and padded, or bytes as they are.

    Args:
        images: (h, w, 3) uint8 RGB, resized; of one size where the file normalises and pads itself.
        size: Height and width of the padded batch.
    """
    if rule.embedded:
        return np.stack(images)
    batch = np.full((len(images), 3, *size), rule.padding.value, np.float32)
    mean = np.asarray(rule.mean, np.float32)
    std = np.asarray(rule.std, np.float32)
    for target, image in zip(batch, images, strict=True):
        height, width, _ = image.shape
        pixels = image if rule.channel_order == 'RGB' else image[..., ::-1]
        normalised = (pixels.astype(np.float32) - mean) / std
        target[:, :height, :width] = normalised.transpose(2, 0, 1)
    return batch
