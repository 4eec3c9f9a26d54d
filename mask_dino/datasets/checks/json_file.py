"""Reading JSON files, and what to do with files that are something else."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import get, load

from ...messages import DataError

START = 200
"""Bytes of a file by which its format is told."""
WHITE_SPACE = b'\t\n\f\r'
UTF_16 = 'it is UTF-16: save it as UTF-8 without a byte order mark'
ARCHIVE = 'it is compressed: unpack it with {}'
NOT_JSON = {
    b'\x1f\x8b': ARCHIVE.format('gunzip'),
    b'PK': ARCHIVE.format('unzip'),
    b'BZh': ARCHIVE.format('bunzip2'),
    b'\xfd7zXZ': ARCHIVE.format('unxz'),
    b'\x28\xb5\x2f\xfd': ARCHIVE.format('unzstd'),
    b'7z\xbc\xaf': ARCHIVE.format('7z'),
    b'\xef\xbb\xbf': 'save it as UTF-8 without a byte order mark',
    b'\xff\xfe': UTF_16,
    b'\xfe\xff': UTF_16,
    b'version https://git-lfs': 'it is a placeholder of Git LFS: fetch the file with git lfs pull',
    b'<': 'it is XML or a web page: export the annotations as COCO, or download the file again',
}
"""Beginnings of files in other formats, with the remedy."""


def read_coco(path: str, backend_args: dict | None = None) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: If it does not exist or is not such a file.
    """
    if not path:
        raise DataError('ann_file is empty; name the annotation file in the config')
    try:
        with no_garbage_collection():
            return load(path, file_format='json', backend_args=backend_args)
    except (FileNotFoundError, IsADirectoryError) as reason:
        kind = 'does not exist' if isinstance(reason, FileNotFoundError) else 'is a folder'
        raise DataError(f'{path} {kind}; correct data_root or ann_file in the config') from reason
    except (ValueError, RecursionError) as reason:
        start = get(path, backend_args=backend_args)[:START]
        remedy = _find_remedy(start, isinstance(reason, UnicodeDecodeError))
        raise DataError(f'{path} is not a JSON file ({reason}); {remedy}') from reason


def _find_remedy(start: bytes, is_no_text: bool) -> str:
    """Return what to do with a file that is not JSON.

    Args:
        start: The first bytes.
        is_no_text: Whether the file cannot be decoded as UTF-8.
    """
    if not start.strip():
        return 'it is empty: export it again'
    for beginning, remedy in NOT_JSON.items():
        if start.lstrip().startswith(beginning):
            return remedy
    if start.count(0) > len(start) // 3:
        return UTF_16
    if any(byte < ord(' ') and byte not in WHITE_SPACE for byte in start):
        return 'it is a binary file: export the annotations as JSON'
    if is_no_text:
        return 'save it as UTF-8'
    if not start.lstrip().startswith((b'{', b'[')):
        return 'it has another format: export the annotations as COCO, which is JSON'
    return 'it may be cut short, or have one object a line, or single quotes: export it again'


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Parse without searching for garbage, which would take most of the time with millions of small lists."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
