"""Finds the annotation files, the images and the classes in a folder in COCO format."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..datasets.checks.json_file import read_coco
from ..messages import DataError, first_few, plural, spread_evenly

SPLIT_WORDS = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test', 'testing'),
}
"""The words in a path that name a split."""
SPLIT_OF_WORD = {word: split for split, words in SPLIT_WORDS.items() for word in words}
PLACEHOLDERS = ('_background_', '__ignore__', 'background')
MAX_DEPTH = 3
PROBED_IMAGES = 20


class Split(NamedTuple):
    """The files of one part of the data; paths are relative to the data folder."""

    ann_file: str
    img_prefix: str  # '' or with a slash at the end
    seg_prefix: str  # of panoptic PNGs or label maps; '' if there are none
    content: Mapping[str, Any]  # the parsed annotation file


class ClassNames(NamedTuple):
    """Class names in the order of the labels: things first."""

    things: tuple[str, ...]
    stuff: tuple[str, ...]
    left_out: tuple[str, ...]  # placeholders, which no object has

    @property
    def names(self) -> tuple[str, ...]:
        """All class names."""
        return self.things + self.stuff


def find_splits(folder: Path, panoptic: bool) -> dict[str, Split]:
    """Find the COCO files of training, validation and test.

    Args:
        folder: The data folder; subfolders are searched.
        panoptic: Whether to look for panoptic files, or for files of instances.

    Returns:
        ``train`` and ``val``, and ``test`` if there is a third file with annotations. Without a validation file,
        the test file is used.

    Raises:
        DataError: There is no such file, only one, or two for the same split.
    """
    if not folder.is_dir():
        raise DataError(f'{folder} is not a folder; relative paths start at {Path.cwd()}')
    files = dict(_find_coco_files(folder, panoptic))
    kind = 'panoptic' if panoptic else 'instance'
    if not files:
        raise DataError(
            f'{folder}: found no JSON file in COCO {kind} format. Export the annotations in "COCO" format; labelme, '
            'CVAT, Label Studio and Roboflow have it'
        )
    named = _assign_splits(_drop_split_files(list(files)))
    if 'val' not in named and 'test' in named:
        named['val'] = named['test']
    if not {'train', 'val'} <= named.keys():
        raise DataError(_describe_missing_split(folder, files, named))
    return {
        split: _locate(folder, named[split], files[named[split]])
        for split in SPLIT_WORDS
        if split in named and (split != 'test' or files[named[split]]['annotations'])
    }


def find_classes(splits: Mapping[str, Split]) -> ClassNames:
    """Read the classes from the training file, without placeholders that no object has.

    Raises:
        DataError: The files have different categories.
    """
    categories = splits['train'].content['categories']
    for name, split in splits.items():
        if _names(split.content['categories']) != _names(categories):
            raise DataError(
                f'{splits["train"].ann_file} has the categories {_names(categories)}, and {split.ann_file} of '
                f'"{name}" has {_names(split.content["categories"])}; export both with the same categories'
            )
    used = {label for split in splits.values() for label in used_labels(split.content)}
    parents = {category.get('supercategory') for category in categories}
    left_out = [
        category['name']
        for category in categories
        if category['id'] not in used and _is_placeholder(category, parents)
    ]
    used_categories = [category for category in categories if category['name'] not in left_out]
    things = [category for category in used_categories if category.get('isthing', 1)]
    stuff = [category for category in used_categories if not category.get('isthing', 1)]
    return ClassNames(_names(things), _names(stuff), tuple(left_out))


def used_labels(content: Mapping[str, Any]) -> list[Any]:
    """Return the category id of every object or segment."""
    labels: list[Any] = []
    for annotation in content['annotations']:
        segments = annotation.get('segments_info', [annotation])
        labels += [segment['category_id'] for segment in segments]
    return labels


def name_split(path: Path) -> str | None:
    """Return the split that a relative path names last: the file name counts before its folders."""
    for part in reversed(path.with_suffix('').parts):
        words = re.findall(r'[a-z]+', part.lower())
        named = [SPLIT_OF_WORD[word] for word in words if word in SPLIT_OF_WORD]
        if named:
            return named[-1]
    return None


def _find_coco_files(folder: Path, panoptic: bool) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for path in sorted(folder.rglob('*.json')):
        relative = path.relative_to(folder)
        if len(relative.parts) > MAX_DEPTH:
            continue
        try:
            content = read_coco(str(path))
        except DataError:
            continue
        if _is_coco(content) and _is_panoptic(content) == panoptic:
            yield relative, content


def _is_coco(content: Any) -> bool:
    names = ('images', 'annotations', 'categories')
    return isinstance(content, dict) and all(isinstance(content.get(name), list) for name in names)


def _is_panoptic(content: Mapping[str, Any]) -> bool:
    return any('segments_info' in annotation for annotation in content['annotations'][:1])


def _drop_split_files(paths: Sequence[Path]) -> list[Path]:
    """Drop files that `split_coco.py` has split, whose parts are in the same folder."""
    names = set(paths)
    remaining = []
    for path in paths:
        stem = path.name.split('.')[0].lstrip('_')
        parts = {path.with_name(f'{stem}_{part}.json') for part in ('train', 'val')}
        if not parts <= names:
            remaining.append(path)
    return remaining


def _assign_splits(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the path of each split.

    Raises:
        DataError: Two files have the same split.
    """
    named: dict[str, Path] = {}
    for path in paths:
        split = name_split(path)
        if split is None:
            continue
        if split in named:
            raise DataError(
                f'{named[split]} and {path} are both named "{split}"; move one of them out of the folder'
            )
        named[split] = path
    return named


def _describe_missing_split(
    folder: Path, files: Mapping[Path, Any], named: Mapping[str, Path]
) -> str:
    listed = first_few(files)
    if len(files) > 1 or named:
        return (
            f'found {plural(len(files), "COCO file")} ({listed}), but no training and validation file: put "train" '
            'and "val" into their names, or make both from one file with tools/dataset_converters/split_coco.py FILE'
        )
    return (
        f'{listed} is the only COCO file. Split it into training and validation first: '
        f'python tools/dataset_converters/split_coco.py {folder / listed}'
    )


def _locate(folder: Path, path: Path, content: Mapping[str, Any]) -> Split:
    """Find the images, and the PNGs of a panoptic file."""
    images = [image['file_name'] for image in content['images']]
    img_prefix = _find_prefix(folder, path, images)
    seg_prefix = ''
    if _is_panoptic(content):
        maps = [annotation['file_name'] for annotation in content['annotations']]
        seg_prefix = _find_prefix(folder, path, maps)
    return Split(path.as_posix(), img_prefix, seg_prefix, content)


def _find_prefix(folder: Path, path: Path, names: Sequence[str]) -> str:
    """Return the subfolder that holds the named files.

    Raises:
        DataError: No folder has all of the names that were looked up.
    """
    if not names:
        raise DataError(f'{folder / path}: the list of images is empty')
    probed = [names[index] for index in spread_evenly(len(names), PROBED_IMAGES)]
    for candidate in _candidate_folders(folder, path):
        if all((candidate / name).is_file() for name in probed):
            relative = candidate.relative_to(folder).as_posix()
            return '' if relative == '.' else f'{relative}/'
    raise DataError(
        f'{folder / path}: no folder below {folder} holds its files, for example {probed[0]}; copy them there'
    )


def _candidate_folders(folder: Path, path: Path) -> Iterator[Path]:
    """Yield folders, the folder of the annotation file first, then those named after its split."""
    yield (folder / path).parent
    yield folder
    others = [other for other in sorted(folder.rglob('*')) if other.is_dir()]
    split = name_split(path)
    yield from sorted(others, key=lambda other: name_split(other.relative_to(folder)) != split)


def _is_placeholder(category: Mapping[str, Any], parents: set[str | None]) -> bool:
    """Tell whether a category stands for a whole project or for the background, and is no class."""
    name, parent = category['name'], category.get('supercategory')
    return name in PLACEHOLDERS or (parent in (None, '', 'none') and name in parents)


def _names(categories: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(category['name'] for category in categories)
