"""Image files that are missing, cut short, or of another size than their annotations say."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
from PIL import Image

from ...messages import Finding, error, first_few, is_url, plural, spread_evenly

JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'
# Inside a scan, bytes 255 of the image are followed by 0, and restart markers are part of it.
JPEG_MARKER = re.compile(rb'\xff[^\x00\x01\xd0-\xd8\xff]')
ORIENTATION = 0x0112  # the tag of EXIF
ROTATED = 5  # orientations from here on exchange width and height
COPY_AGAIN = 'copy or download it again, or remove the image and its annotations'


def check_presence(paths: Iterable[str]) -> list[Finding]:
    """Report files that are missing or empty, by folder. Each folder is listed once, which is quick for many files."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        if is_url(path):
            continue
        folder, name = os.path.split(path)
        folders[folder or '.'].append(name)
    findings: list[Finding] = []
    for folder, names in folders.items():
        findings += _check_folder(folder, names)
    return findings


def image_problem(path: str, stated: tuple[int, int], decode: bool) -> str | None:
    """Say what is wrong with an image file.

    Args:
        stated: Width and height in the annotations.
        decode: Whether to decode all of it; otherwise only its header is read.
    """
    if problem := file_problem(path):
        return problem
    size = _decoded_size(path) if decode else header_size(path)
    if size == (0, 0):
        return f'{path} cannot be decoded: it is damaged or cut short; {COPY_AGAIN}'
    return size_problem(path, size, stated)


def file_problem(path: str) -> str | None:
    """Say what keeps a file from being an image, without decoding it."""
    if is_url(path):
        return None
    if not os.path.isfile(path):
        return f'{path} does not exist; {COPY_AGAIN}'
    if not os.path.getsize(path):
        return f'{path} is empty; {COPY_AGAIN}'
    if not cv2.haveImageReader(path):
        return f'{path} is not an image that OpenCV can read; {COPY_AGAIN}'
    return f'{path} is a JPEG that was cut short; {COPY_AGAIN}' if _is_cut_short(path) else None


def size_problem(path: str, size: tuple[int, int] | None, stated: tuple[int, int]) -> str | None:
    """Describe how an image's width and height differ from its annotations; None if they are unknown."""
    if size is None or size == stated:
        return None
    turned = ', turned upright by its EXIF orientation,' if _read_header(path)[1] >= ROTATED else ''
    return (
        f'{path} is {size[0]} x {size[1]} pixels{turned} but width x height in its annotations is {stated[0]} x '
        f'{stated[1]}: masks and boxes would be misplaced. Restore the image that was annotated, or annotate this one'
    )


def _check_folder(folder: str, names: Sequence[str]) -> list[Finding]:
    if not os.path.isdir(folder):
        remedy = 'Correct data_root or data_prefix of the dataset in the config'
        return [error(f'{folder}: the folder of images does not exist. {remedy}.')]
    with os.scandir(folder) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    findings = []
    if missing := [name for name in names if name not in sizes]:
        folded = {name.lower(): name for name in sizes}
        others = [
            f' ({name} is called {folded[name.lower()]} there)'
            for name in missing
            if name.lower() in folded
        ]
        remedy = 'Correct data_prefix of the dataset in the config or file_name of the images, or remove the entries.'
        listed = first_few(missing, 5) + ''.join(others[:1])
        count = f'{len(missing)} of {plural(len(names), "image")}'
        findings.append(error(f'{folder}: {count} missing: {listed}. {remedy}'))
    if empty := [name for name in names if sizes.get(name) == 0]:
        count = plural(len(empty), 'empty file')
        findings.append(error(f'{folder}: {count}: {first_few(empty, 5)}; {COPY_AGAIN}'))
    return findings


def _is_cut_short(path: str) -> bool:
    """Tell whether a JPEG ends before its end marker; older OpenCV fills what is missing with grey."""
    with open(path, 'rb') as file:
        if file.read(2) != JPEG_START:
            return False
        file.seek(-2, os.SEEK_END)
        if file.read() == JPEG_END:
            return False
    # Cameras append data of their own.
    content = Path(path).read_bytes()
    position = 2
    while marker := JPEG_MARKER.search(content, position):
        if marker[0] == JPEG_END:
            return False
        length = content[marker.end() : marker.end() + 2]
        position = marker.end() + int.from_bytes(length, 'big')
    return True


def _decoded_size(path: str) -> tuple[int, int]:
    image = mmcv.imread(path)
    return (0, 0) if image is None else (image.shape[1], image.shape[0])


def header_size(path: str) -> tuple[int, int] | None:
    """Return the size at which OpenCV would load an image, or None if Pillow does not know the format."""
    size, orientation = _read_header(path)
    return (size[1], size[0]) if size and orientation >= ROTATED else size


def _read_header(path: str) -> tuple[tuple[int, int] | None, int]:
    """Return width and height as stored, and the EXIF orientation."""
    try:
        with Image.open(path) as image:
            orientation = image.getexif().get(ORIENTATION, 1)
            return image.size, int(orientation)
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        return None, 1


DEPTHS = 20
"""Images of formats with more than 8 bits, evenly spread, whose values are read beforehand."""
FEW_LEVELS = 16
"""Grey levels of 256 below which an image is nearly black."""


def check_depth(paths: Sequence[str]) -> list[Finding]:
    """Report images of floats, and 16-bit images that lose most of their range when they are loaded with 8 bits.

    OpenCV reads 16 bits as the upper 8 of them, so that values of up to 4095 become 16 grey levels, and reads no TIFF
    of floats.
    """
    deep = [path for path in paths if _may_be_deep(path)]
    floats: list[str] = []
    largest: dict[str, int] = {}  # values of images of 16 bits
    for index in spread_evenly(len(deep), DEPTHS):
        path = deep[index]
        image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        if image is not None and image.dtype.kind == 'f':
            floats.append(path)
        if image is not None and image.dtype == np.uint16:
            largest[path] = int(image.max())
    findings = []
    if floats:
        message = f'{plural(len(floats), "image")} looked at with floating-point values: {first_few(floats, 2)}. '
        findings.append(error(f'{message}Save them with 8 bits per channel.'))
    dark = {path: value for path, value in largest.items() if value < FEW_LEVELS * 256}
    if len(dark) > len(largest) / 2:
        described = (f'{path} (largest value {value})' for path, value in dark.items())
        listed = first_few(described, 2)
        message = f'{plural(len(dark), "image")} of 16 bits looked at with values that use few of them: {listed}. '
        remedy = 'Loaded with 8 bits, they are nearly black: scale the values to 8 bits.'
        findings.append(error(message + remedy))
    return findings


def _may_be_deep(path: str) -> bool:
    """Tell whether an image may have more than 8 bits per channel, by its format and, of a PNG, by its header."""
    if is_url(path):
        return False
    suffix = os.path.splitext(path)[1].lower()
    if suffix != '.png':
        return suffix in ('.tif', '.tiff', '.exr', '.hdr', '.pfm')
    with open(path, 'rb') as file:
        header = file.read(25)
    return len(header) == 25 and header[24] == 16
