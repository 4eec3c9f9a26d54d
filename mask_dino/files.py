"""Files that are written whole or not at all."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@contextmanager
def writing_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to. After the body of the statement, that file takes the place of ``path``.

    The folder is made. If the body fails, ``path`` stays as it was and nothing else is left.

    Raises:
        OSError: If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, its folder included; a reader never sees a part of it. See :func:`writing_whole` for errors."""
    with writing_whole(path) as part:
        part.write_bytes(content)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 RGB as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, 'PNG')
    write_whole(path, buffer.getvalue())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_whole(path, (json.dumps(value, indent=1) + '\n').encode())
