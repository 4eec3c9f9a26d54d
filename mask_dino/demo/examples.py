"""Examples to choose from: drawn pictures of Shapes, and images of a folder that the user names."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from .uploads import UploadError, read_upload

DRAWN = 6
"""Number of drawn pictures."""

DRAWN_SIZE = 256  # pixels of a side
DRAWN_SEED = 7
LIMIT = 24
"""Number of images of the user's folder that are shown."""


def write_examples(target: Path, folder: Path | None, max_side: int) -> Iterator[str]:
    """Write examples as PNG files, which sort in their order, and yield a sentence about each that is left out.

    The user's images are copied, so that the page never serves a file of their folder.

    Args:
        target: Folder to write to.
        folder: The user's images.
        max_side: Pixels of the longer side; larger images are reduced.

    Raises:
        NotADirectoryError: If there is no such folder.
    """
    target.mkdir(parents=True)
    yield from _copy_folder(target, folder, max_side) if folder is not None else ()
    if find_spec('cv2') is None:
        yield 'No Shapes are drawn as examples: they need OpenCV (pip install opencv-python-headless).'
        return
    from ..datasets.shapes import World
    from ..datasets.shapes.write import generate_scenes

    world = World(train=0, val=DRAWN, size=DRAWN_SIZE, seed=DRAWN_SEED)
    for number, scene in enumerate(generate_scenes(world, 'val'), start=1):
        _write(scene.image, target / f'shapes_{number}.png')


def _copy_folder(target: Path, folder: Path, max_side: int) -> Iterator[str]:
    if not folder.is_dir():
        raise NotADirectoryError(f'--examples {folder} is not a folder; give a folder of images')
    number = 0
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        try:
            upload = read_upload(path, max_side)
        except UploadError as error:
            yield f'Left out of the examples: {error}'
            continue
        number += 1
        if number > LIMIT:
            yield f'{folder} has more than {LIMIT} images; the first {LIMIT} are examples.'
            return
        _write(upload.pixels, target / f'given_{number:02d}_{upload.name}.png')


def _write(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, compress_level=1)
