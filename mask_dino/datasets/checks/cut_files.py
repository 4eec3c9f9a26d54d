"""Image files that end too early, found by the structure of their format, without decoding."""

import os
import re
import struct
import warnings
from collections.abc import Callable
from typing import BinaryIO

from PIL import Image

JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'
# Inside a scan, bytes 255 of the image are followed by 0, and restart markers are part of it.
JPEG_MARKER = re.compile(rb'\xff[^\x00\x01\xd0-\xd8\xff]')
PNG_START = b'\x89PNG\r\n\x1a\n'
GIF_END = b';'
STRIPS, TILES = (273, 279), (324, 325)
"""The tags of TIFF for the places and the lengths of the parts of an image."""


def find_cut_format(path: str) -> str | None:
    """Return the format of an image file that was cut short; None for whole files and for other formats."""
    with open(path, 'rb') as file:
        start = file.read(16)
        file.seek(0)
        known = [kind for kind in FORMATS if re.match(kind[1], start, re.DOTALL)]
        cut = [name for name, _, is_whole in known if not is_whole(file, os.path.getsize(path))]
    return next(iter(cut), None)


def _is_whole_jpeg(file: BinaryIO, size: int) -> bool:
    """Look for the end marker; older OpenCV fills what is missing with grey."""
    file.seek(max(size - 2, 0))
    if file.read() == JPEG_END:
        return True
    # Cameras append data of their own.
    file.seek(0)
    content = file.read()
    position = 2
    while marker := JPEG_MARKER.search(content, position):
        if marker[0] == JPEG_END:
            return True
        length = content[marker.end() : marker.end() + 2]
        position = marker.end() + int.from_bytes(length, 'big')
    return False


def _is_whole_png(file: BinaryIO, size: int) -> bool:
    """Go from chunk to chunk until the last one."""
    file.seek(len(PNG_START))
    while len(header := file.read(8)) == 8 and header[4:].isalpha():
        length = int.from_bytes(header[:4], 'big')
        end = file.seek(length + 4, os.SEEK_CUR)  # with the checksum
        if header[4:] == b'IEND':
            return end <= size
    return False


def _is_whole_gif(file: BinaryIO, size: int) -> bool:
    """Look for the last byte, after which some programs write zeros."""
    file.seek(max(size - 512, 0))
    return file.read().rstrip(b'\0').endswith(GIF_END)


def _is_whole_bmp(file: BinaryIO, size: int) -> bool:
    """Compare the size with the number of rows; compressed images are not looked at."""
    header = file.read(34)
    if len(header) < 34:
        return False
    start, header_size, width, height = struct.unpack_from('<IIii', header, 10)
    bits, compression = struct.unpack_from('<HI', header, 28)
    if header_size < 40 or compression not in (0, 3):
        return True
    row_size = (width * bits + 31) // 32 * 4  # filled up to 4 bytes
    num_bytes = row_size * abs(height)
    return size >= int(start + num_bytes)


def _is_whole_webp(file: BinaryIO, size: int) -> bool:
    """Compare the size with the size in the header."""
    header = file.read(8)
    return size >= 8 + int.from_bytes(header[4:], 'little')


def _is_whole_tiff(file: BinaryIO, size: int) -> bool:
    """Compare the size with the places of all parts of the first image."""
    try:
        with warnings.catch_warnings(), Image.open(file) as image:
            warnings.simplefilter('ignore')
            tags = dict(getattr(image, 'tag_v2', {}))
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        return False
    ends = [
        place + length
        for places, lengths in (STRIPS, TILES)
        for place, length in zip(tags.get(places, ()), tags.get(lengths, ()), strict=False)
    ]
    return max(ends, default=0) <= size


FORMATS: tuple[tuple[str, bytes, Callable[[BinaryIO, int], bool]], ...] = (
    ('JPEG', JPEG_START, _is_whole_jpeg),
    ('PNG', PNG_START, _is_whole_png),
    ('GIF', b'GIF8[79]a', _is_whole_gif),
    ('BMP', b'BM', _is_whole_bmp),
    ('WEBP', b'RIFF....WEBP', _is_whole_webp),
    ('TIFF', rb'II\*\0|MM\0\*', _is_whole_tiff),
)
"""Names, what files begin with, as a regular expression, and the functions that look for the end."""
