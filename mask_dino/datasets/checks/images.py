"""Image files that are missing, cut short, or of another size than their annotations say."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence

import cv2
import mmcv
import numpy as np
from PIL import Image

from ...messages import Finding, error, first_few, is_url, plural, spread_evenly
from .cut_files import find_cut_format

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
        return f'{path} is {_describe_other(path)}; {COPY_AGAIN}'
    cut_format = find_cut_format(path)
    return f'{path} is a {cut_format} that was cut short; {COPY_AGAIN}' if cut_format else None


def _describe_other(path: str) -> str:
    """Say what a file is that is not an image."""
    with open(path, 'rb') as file:
        start = file.read(20).lstrip()
    if start.startswith(b'version https://git'):
        return 'a placeholder of Git LFS: fetch the images with git lfs pull'
    if start.startswith(b'<'):
        return 'a web page or XML, and not an image'
    return 'not an image that OpenCV can read'


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
    """Report images that cannot be loaded with 8 bits, and images of 16 bits that would lose most of their range.

    OpenCV reads 16 bits as the upper 8 of them, so that values of up to 4095 become 16 grey levels. It reads no TIFF
    of floats or of whole numbers of 32 bits.
    """
    deep = [path for path in paths if _may_be_deep(path)]
    others: list[str] = []
    largest: dict[str, int] = {}  # values of images of 16 bits
    for index in spread_evenly(len(deep), DEPTHS):
        path = deep[index]
        image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        if image is not None and image.dtype not in (np.uint8, np.uint16):
            others.append(f'{path} ({image.dtype})')
        if image is not None and image.dtype == np.uint16:
            largest[path] = int(image.max())
    findings = []
    if others:
        message = f'{plural(len(others), "image")} looked at with values of another type: {first_few(others, 2)}. '
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
