"""Reading and checking a COCO annotation file as a whole."""

import gc
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import load

from .annotations import Usage, check_annotations
from .categories import check_categories
from .findings import DataError, Finding, error, number, some

LISTS = ('images', 'annotations', 'categories')


def read_coco(path: str, backend_args: dict | None = None) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: If it does not exist or is none.
    """
    try:
        with _no_garbage_collection():
            return load(path, file_format='json', backend_args=backend_args)
    except FileNotFoundError as reason:
        raise DataError(f'{path} does not exist; correct data_root or ann_file in the config') from reason
    except ValueError as reason:
        raise DataError(f'{path} is not a JSON file ({reason}); export it again') from reason


def check_coco(content: Any, file: str, classes: Any, usage: Usage) -> list[Finding]:
    """Report everything that is wrong with a COCO file or does not fit the classes of the config."""
    if usage.evaluation and isinstance(content, dict):
        content = dict(annotations=[]) | content  # test sets may keep theirs secret
    if problems := check_structure(content, file):
        return problems
    return check_categories(content, file, classes) + check_annotations(content, file, usage)


def check_structure(content: Any, file: str) -> list[Finding]:
    """Report what all else takes for granted: three lists, whole images and categories, unique ids."""
    for name in LISTS:
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            return [
                error(f"{file} has no list '{name}' of objects: it is not in COCO's format for instances. Convert it.")
            ]
    findings = []
    if broken := [image for image in content['images'] if not _is_image(image)]:
        message = f'{file}: {number(len(broken), "image")} without all fields: {some(broken, 3)}. '
        findings.append(error(f'{message}Each needs id, file_name, and width and height in pixels.'))
    if broken := [category for category in content['categories'] if not _is_category(category)]:
        message = f'{file}: {len(broken)} of the categories without all fields: {some(broken, 3)}. '
        findings.append(error(f'{message}Each needs id and name.'))
    for name in LISTS:
        if twice := _repeated(entry.get('id') for entry in content[name]):
            message = f'{file}: {name} share {number(len(twice), "id")}: '
            findings.append(error(f'{message}{some(twice, 3)}. Number them anew.'))
    return findings


def _is_image(entry: dict) -> bool:
    sizes = (entry.get('width'), entry.get('height'))
    whole = all(isinstance(size, (int, float)) and size > 0 for size in sizes)
    return whole and 'id' in entry and isinstance(entry.get('file_name'), str)


def _is_category(entry: dict) -> bool:
    return 'id' in entry and isinstance(entry.get('name'), str)


def _repeated(ids: Iterable[Hashable]) -> list[Hashable]:
    return [value for value, count in Counter(ids).items() if count > 1]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Parse without searching for garbage, which would take most of the time with millions of small lists."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
