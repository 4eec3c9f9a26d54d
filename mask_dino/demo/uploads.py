"""Reads the images of visitors in all common formats, or says why an image cannot be read."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_UPLOAD_BYTES = 50 * 2**20
"""Size of an uploaded file."""

MAX_UPLOAD_PIXELS = 100_000_000
"""Pixels of an uploaded image; a small file can hold an image that fills the memory."""

MIN_UPLOAD_SIDE = 8
"""Pixels of the shorter side of an image, after it was reduced."""

PILLOW_FORMATS = ('JPEG', 'PNG', 'WEBP', 'AVIF', 'BMP', 'GIF', 'TIFF', 'PPM')
"""Formats of Pillow that are tried; others can start programs, such as EPS, and nobody takes photos in them."""

ORIENTATION = 0x0112  # tag of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Value of the tag -> what turns the image upright."""


class UploadError(ValueError):
    """An upload cannot be used: the message is a sentence for the visitor of the page."""


class Upload(NamedTuple):
    """An image that was read."""

    name: str  # of the file, without folder and suffix
    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright
    original_size: tuple[int, int]  # height and width before it was reduced
    notes: tuple[str, ...]  # sentences for the visitor


def read_upload(path: str | Path, max_side: int) -> Upload:
    """Read an image of any common kind as 8-bit RGB, upright and not larger than a size.

    Transparent parts become white, 16 bits become 8, and of an animation the first picture is taken.

    Args:
        max_side: Pixels of the longer side; larger images are reduced, and a note says so.

    Raises:
        UploadError: If the file is empty, too large, damaged or not an image.
    """
    path = Path(path)
    _check_file(path)
    try:
        return _read_quietly(path, max_side)
    except UploadError:
        raise
    except UnidentifiedImageError as error:
        raise UploadError(
            f'{path.name} is not an image that this page reads. Use JPEG, PNG, WebP, BMP, GIF or TIFF.'
        ) from error
    except Image.DecompressionBombError as error:
        raise UploadError(_too_many_pixels(path)) from error
    except Exception as error:  # Pillow's readers raise many kinds for damaged files
        raise UploadError(
            f'{path.name} is damaged or incomplete. Save or copy the image again.'
        ) from error


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UploadError(f'{path.name} cannot be read. Upload it again.') from error
    if not size:
        raise UploadError(f'{path.name} is empty. Choose another file.')
    if size > MAX_UPLOAD_BYTES:
        raise UploadError(
            f'{path.name} has {size / 2**20:.0f} MB, and {MAX_UPLOAD_BYTES / 2**20:.0f} MB is the largest file that '
            'this page takes. Reduce the image first.'
        )


def _read_quietly(path: Path, max_side: int) -> Upload:
    Image.init()  # Pillow knows no format before
    formats = [name for name in PILLOW_FORMATS if name in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Pillow's warnings of damaged tags and of many pixels
        with Image.open(path, formats=formats) as image:
            return _read(image, path, max_side)


def _read(image: Image.Image, path: Path, max_side: int) -> Upload:
    width, height = image.size
    if width * height > MAX_UPLOAD_PIXELS:
        raise UploadError(_too_many_pixels(path))
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    notes: list[str] = []
    if getattr(image, 'n_frames', 1) > 1 and image.format != 'MPO':
        notes.append(f'{path.name} has several pictures, and only the first is used.')
    image.draft('RGB', (max_side, max_side))  # a JPEG is decoded at a fraction of its size
    plain = _to_eight_bits(image, path)
    plain.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    if turn is not None:
        plain = plain.transpose(turn)
    is_turned = (plain.width > plain.height) != (width > height)
    original = (width, height) if is_turned else (height, width)
    if min(plain.size) < MIN_UPLOAD_SIDE:
        raise UploadError(
            f'{path.name} is {original[1]} x {original[0]} pixels, which is too narrow to see anything in it.'
        )
    if max(original) > max(plain.size):
        notes.append(
            f'The image was reduced from {original[1]} x {original[0]} to {plain.width} x {plain.height} pixels.'
        )
    return Upload(path.stem, np.asarray(_on_white(plain)), original, tuple(notes))


def _to_eight_bits(image: Image.Image, path: Path) -> Image.Image:
    """Return an image in the mode L, RGB or RGBA."""
    if image.mode.startswith('I'):
        values = np.asarray(image).astype(np.int64)
        # Pillow would clip values above 255.
        shift = 8 if image.mode != 'I' or values.max() > 255 else 0
        return Image.fromarray((values >> shift).clip(0, 255).astype(np.uint8))
    if image.mode == 'F':
        raise UploadError(
            f'{path.name} has floating-point pixels, whose range is unknown. Convert it to 8 bits.'
        )
    if image.has_transparency_data:
        return image.convert('RGBA')
    return image.convert('L' if image.mode in ('1', 'L') else 'RGB')


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image as RGB, with white behind its transparent parts."""
    if image.mode == 'RGBA':
        ground = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(ground, image)
    return image.convert('RGB')


def _too_many_pixels(path: Path) -> str:
    return (
        f'{path.name} has more than {MAX_UPLOAD_PIXELS // 1_000_000} million pixels, which this page does not take. '
        'Reduce the image first.'
    )
