"""Files that are written whole or not at all."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, its folder included; a reader never sees a part of it.

    Raises:
        OSError: If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 RGB as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, 'PNG')
    write_whole(path, buffer.getvalue())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_whole(path, (json.dumps(value, indent=1) + '\n').encode())
