"""Finds the images, the label maps and the classes in a folder of semantic segmentation."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np

from ..messages import DataError, first_few, spread_evenly
from .folders import SPLIT_WORDS, name_split

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
CLASS_FILES = ('classes.txt', 'class_names.txt', 'labels.txt')
MAP_WORDS = ('label', 'mask', 'annotation', 'seg', 'semantic', 'gt')
IGNORED_LABEL = 255
READ_MAPS = 200


class MapSplit(NamedTuple):
    """One part of the data; paths are relative to the data folder."""

    images: str  # folder
    maps: str  # folder
    img_suffix: str  # such as '.jpg'
    map_suffix: str  # such as '.png' or '_mask.png'
    stems: tuple[str, ...]  # names of the images without suffix


def find_map_splits(folder: Path) -> dict[str, MapSplit]:
    """Find pairs of folders, images and label maps of equal names, for training, validation and test.

    Returns:
        ``train`` and ``val``, and ``test`` if there is a third part. Without a validation part, the test part is used.

    Raises:
        DataError: There is no training or no validation part.
    """
    if not folder.is_dir():
        raise DataError(f'{folder} is not a folder; relative paths start at {Path.cwd()}')
    folders = [folder, *sorted(path for path in folder.rglob('*') if path.is_dir())]
    listed = {path: _list_files(path) for path in folders}
    images = {path: files for path, files in listed.items() if files}
    splits: dict[str, MapSplit] = {}
    # Photos are rarely PNGs; folders of PNGs are the images only if there is nothing else.
    for path in sorted(images, key=lambda path: images[path][0].suffix.lower() == '.png'):
        split = name_split(path.relative_to(folder) / 'x')
        pair = _find_maps(folder, path, images, split)
        if split and pair and split not in splits:
            splits[split] = pair
    if 'val' not in splits and 'test' in splits:
        splits['val'] = splits['test']
    if not {'train', 'val'} <= splits.keys():
        raise DataError(
            f'{folder}: label maps of {", ".join(splits) or "no split"}, but both training and validation need them: '
            'images in images/train and images/val, and maps of the same names (PNG) in labels/train and labels/val'
        )
    return {split: splits[split] for split in SPLIT_WORDS if split in splits}


def read_class_names(
    folder: Path, splits: Sequence[MapSplit], names: Sequence[str]
) -> tuple[str, ...]:
    """Return the classes: the given names, the names in a text file with one a line, or names made from the labels.

    Raises:
        DataError: The maps hold labels without a name.
    """
    labels = read_labels(folder, splits)
    count = max(labels) + 1
    known = tuple(names) or _read_class_file(folder)
    if known and len(known) < count:
        listed = first_few(sorted(labels))
        raise DataError(
            f'{first_few(known)}: {len(known)} classes, but the maps hold the labels {listed}. '
            f'Name all classes in the order of the labels; pixels to be ignored have the label {IGNORED_LABEL}'
        )
    if known:
        return known
    return tuple(f'class_{label}' for label in range(count))


def read_labels(folder: Path, splits: Sequence[MapSplit]) -> set[int]:
    """Return the labels in up to 200 maps of each part, without ignored pixels.

    Raises:
        DataError: A map has several channels, or no map has a label.
    """
    labels: set[int] = set()
    paths = [
        folder / split.maps / (split.stems[index] + split.map_suffix)
        for split in splits
        for index in spread_evenly(len(split.stems), READ_MAPS)
    ]
    for path in paths:
        pixels = mmcv.imread(path, flag='unchanged', backend='pillow')
        if pixels is None or pixels.ndim != 2:
            raise DataError(
                f'{path} has colours; a label map has one channel with the number of the class in each pixel. '
                'Export "indexed" or "grey" masks, or replace each colour by its number'
            )
        labels.update(np.unique(pixels).tolist())
    labels.discard(IGNORED_LABEL)
    if not labels:
        raise DataError(
            f'{folder}: all pixels of the label maps have the label {IGNORED_LABEL}, "ignore"'
        )
    return labels


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def _find_maps(
    folder: Path, image_folder: Path, listed: dict[Path, list[Path]], split: str | None
) -> MapSplit | None:
    """Return the images of a folder with their maps, if another folder has a PNG for each of them."""
    image_files = listed[image_folder]
    suffixes = Counter(path.suffix for path in image_files)
    img_suffix, _ = suffixes.most_common(1)[0]
    stems = [path.name.removesuffix(img_suffix) for path in image_files]
    for map_folder, files in listed.items():
        if map_folder == image_folder or name_split(map_folder.relative_to(folder) / 'x') != split:
            continue
        map_suffix = _common_suffix(stems, [path.name for path in files])
        images, maps = (path.relative_to(folder).as_posix() for path in (image_folder, map_folder))
        if map_suffix and _are_maps(maps, files[0], images, image_files[0]):
            return MapSplit(images, maps, img_suffix, map_suffix, tuple(stems))
    return None


def _common_suffix(stems: Sequence[str], names: Sequence[str]) -> str | None:
    """Return what the name of each map adds to the name of its image; None if a map is missing."""
    present = set(names)
    first = stems[0]
    suffixes = [name.removeprefix(first) for name in names if name.startswith(first)]
    fitting = [suffix for suffix in suffixes if present.issuperset(stem + suffix for stem in stems)]
    return min(fitting, key=len) if fitting else None


def _are_maps(maps: str, first_map: Path, images: str, first_image: Path) -> bool:
    """Tell whether files named like images are label maps, by the name of their folder or by their single channel."""
    if first_map.suffix.lower() != '.png':
        return False
    is_named = any(word in maps.lower() for word in MAP_WORDS)
    if is_named and not any(word in images.lower() for word in MAP_WORDS):
        return True
    return _has_one_channel(first_map) and not _has_one_channel(first_image)


def _has_one_channel(path: Path) -> bool:
    pixels = mmcv.imread(path, flag='unchanged', backend='pillow')
    return pixels is not None and pixels.ndim == 2


def _read_class_file(folder: Path) -> tuple[str, ...]:
    for name in CLASS_FILES:
        file = folder / name
        if file.is_file():
            lines = file.read_text(encoding='utf-8').splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    return ()
