"""Writes the pictures and annotations of a world: COCO instances, COCO panoptic and semantic label maps."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import CLASSES, PALETTE, THINGS, VOID, World
from .scene import Scene, compose_scene

Json = dict[str, Any]
SPLITS = ('train', 'val')
STAMP = 'shapes.json'
REVISION = 2  # of the generator: raise it with every change of what is drawn or written
ID_STEP = 0x9E3779  # odd, so that multiples are distinct in 24 bits; large, so that segment maps look colourful


def generate_scenes(world: World, split: str) -> Iterator[Scene]:
    """Yield the pictures of a split. Each has its own random numbers, so it does not depend on how many there are."""
    for index in range(world.train if split == 'train' else world.val):
        yield compose_scene(world, np.random.default_rng((world.seed, SPLITS.index(split), index)))


def write_split(folder: Path, split: str, pictures: Iterable[Scene]) -> None:
    """Write ``{split}/``, ``panoptic_{split}/``, ``semantic_{split}/`` and the split's files in ``annotations/``."""
    for name in (split, f'panoptic_{split}', f'semantic_{split}', 'annotations'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images: list[Json] = []
    panoptic: list[Json] = []
    instances: list[Json] = []
    numbers = count(1)
    for image_id, scene in enumerate(pictures, start=1):
        stem = f'{image_id:06d}'
        layers = [i for i in np.unique(scene.owner).tolist() if i != VOID]
        facts = {i: _describe_layer(scene, i) for i in layers}
        _write_picture(folder / split / f'{stem}.jpg', scene.image)
        _write_picture(folder / f'panoptic_{split}' / f'{stem}.png', panoptic_map(scene))
        _write_picture(folder / f'semantic_{split}' / f'{stem}.png', semantic_map(scene))
        height, width = scene.owner.shape
        size = dict(width=width, height=height)
        images.append(dict(id=image_id, file_name=f'{stem}.jpg', **size))
        segments = [dict(id=segment_id(i), **facts[i]) for i in layers]
        panoptic.append(dict(image_id=image_id, file_name=f'{stem}.png', segments_info=segments))
        for i in filter(lambda i: scene.layers[i].forms, layers):
            code = run_lengths(scene.owner == i)
            instances.append(
                dict(id=next(numbers), image_id=image_id, segmentation=code, **facts[i])
            )
    annotations = folder / 'annotations'
    _write_json(annotations / f'instances_{split}.json', images, _categories(THINGS), instances)
    _write_json(annotations / f'panoptic_{split}.json', images, _categories(CLASSES), panoptic)


def segment_id(index: int) -> int:
    """Return the panoptic id of a layer, unique in its picture and never 0."""
    return (index + 1) * ID_STEP % 2**24


def panoptic_map(scene: Scene) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB: red + 256 * green + 65536 * blue is the id of the segment, 0 without segment."""
    ids = np.array([segment_id(i) if i != VOID else 0 for i in range(VOID + 1)], '<u4')
    return ids.view(np.uint8).reshape(-1, 4)[scene.owner, :3]


def semantic_map(scene: Scene) -> np.ndarray:
    """Return (H, W) uint8 indices into CLASSES, VOID without class."""
    labels = np.full(VOID + 1, VOID, np.uint8)
    labels[: len(scene.layers)] = [layer.label for layer in scene.layers]
    return labels[scene.owner]


def run_lengths(mask: np.ndarray) -> Json:
    """Return COCO's uncompressed run-length encoding of a mask (H, W): column by column, zeros first."""
    flat = mask.ravel(order='F')
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    borders = np.concatenate(([0], changes, [flat.size]))
    counts: list[int] = np.diff(borders).tolist()
    if flat[0]:
        counts.insert(0, 0)  # there are no zeros before the first ones
    return {'counts': counts, 'size': list(mask.shape)}


def _describe_layer(scene: Scene, index: int) -> Json:
    layer = scene.layers[index]
    rows, cols = np.nonzero(scene.owner == index)
    left, top = int(cols.min()), int(rows.min())
    return {
        'category_id': layer.label + 1,
        'bbox': [left, top, int(cols.max()) + 1 - left, int(rows.max()) + 1 - top],
        'area': len(rows),
        'iscrowd': int(len(layer.forms) > 1),
    }


def _categories(names: Iterable[str]) -> list[Json]:
    return [
        {'id': i + 1, 'name': name, 'isthing': int(name in THINGS), 'color': list(PALETTE[i])}
        | {'supercategory': 'thing' if name in THINGS else 'stuff'}
        for i, name in enumerate(names)
    ]


def _write_json(
    path: Path, images: list[Json], categories: list[Json], annotations: list[Json]
) -> None:
    info = {'description': 'Shapes, a synthetic world'}
    content = {
        'info': info,
        'licenses': [],
        'images': images,
        'categories': categories,
        'annotations': annotations,
    }
    path.write_text(json.dumps(content, separators=(',', ':')))


def _write_picture(path: Path, picture: np.ndarray) -> None:
    pixels = picture[..., ::-1] if picture.ndim == 3 else picture
    done, data = cv2.imencode(path.suffix, pixels)  # JPEG at quality 95, OpenCV's default
    if not done:
        raise OSError(f'{path}: OpenCV cannot write this image format')
    path.write_bytes(data.tobytes())


def write_shapes(world: World, folder: Path) -> bool:
    """Write the data set into ``folder``; nothing half-written is left behind when it fails.

    Returns:
        Whether the data set was written: False if ``folder`` already has it.

    Raises:
        FileExistsError: If ``folder`` holds something else.
        OSError: If the data set cannot be written.
    """
    stamp = asdict(world) | {'revision': REVISION}
    if _holds(folder, stamp):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f'.{folder.name}.{os.getpid()}.partial')
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed process of the same number
    try:
        for split in SPLITS:
            write_split(partial, split, generate_scenes(world, split))
        (partial / STAMP).write_text(json.dumps(stamp, indent=2) + '\n')
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _holds(folder: Path, stamp: dict[str, int]) -> bool:
    """Tell whether the folder has this data set, and raise FileExistsError if it has something else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        written = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        written = None
    if written == stamp:
        return True
    if not isinstance(written, dict):
        raise FileExistsError(
            f'{folder}: exists and was not made by this tool; remove it or choose another folder'
        )
    changed = [
        f'{key} {written.get(key)} instead of {value}'
        for key, value in stamp.items()
        if written.get(key) != value
    ]
    raise FileExistsError(
        f'{folder}: made with {", ".join(changed)}; remove it (rm -r {folder}) or choose another one'
    )
