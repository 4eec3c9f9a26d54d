"""Reading and checking a COCO annotation file as a whole."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import load

from ...messages import DataError, Finding, error, first_few, is_url, plural
from .annotations import Usage, check_annotations
from .categories import check_categories, find_repeated, is_id
from .mask_fit import check_box_form, check_mask_fit

LISTS = ('images', 'annotations', 'categories')


def read_coco(path: str, backend_args: dict | None = None) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: If it does not exist or is not such a file.
    """
    try:
        with no_garbage_collection():
            return load(path, file_format='json', backend_args=backend_args)
    except FileNotFoundError as reason:
        raise DataError(
            f'{path} does not exist; correct data_root or ann_file in the config'
        ) from reason
    except ValueError as reason:
        raise DataError(f'{path} is not a JSON file ({reason}); export it again') from reason


def check_coco(
    content: Any, file: str, classes: Any, usage: Usage, complete: bool = False
) -> list[Finding]:
    """Report everything that is wrong with a COCO file or does not fit the classes of the config.

    Args:
        complete: As for :func:`check_mask_fit`.
    """
    if usage.evaluation and isinstance(content, dict):
        content = dict(annotations=[]) | content  # test sets may keep theirs secret
    if problems := check_structure(content, file):
        return problems
    findings = check_categories(content, file, classes)
    findings += check_annotations(content, file, usage)
    findings += check_box_form(content, file)
    if usage.with_masks:
        findings += check_mask_fit(content, file, complete)
    return findings


def check_structure(content: Any, file: str) -> list[Finding]:
    """Report what makes a file unreadable: lists that are missing, images without a size, ids that are not unique."""
    for name in LISTS:
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            problem = (
                f"{file} has no list '{name}' of objects: it is not in COCO's format for instances."
            )
            return [error(f'{problem} Convert it.')]
    findings = []
    if broken := [image for image in content['images'] if not _is_image(image)]:
        count = plural(len(broken), 'image')
        problem = f'{file}: {count} without all fields: {first_few(broken, 3)}.'
        remedy = 'Each needs id, file_name, and width and height as whole numbers of pixels.'
        findings.append(error(f'{problem} {remedy}'))
    if broken := [category for category in content['categories'] if not _is_category(category)]:
        count = f'{len(broken)} of the categories'
        problem = f'{file}: {count} without all fields: {first_few(broken, 3)}.'
        findings.append(error(f'{problem} Each needs id and name.'))
    for name in LISTS:
        if repeated := find_repeated(entry.get('id') for entry in content[name]):
            count = plural(len(repeated), 'id')
            problem = f'{file}: {count} of {name} used more than once: {first_few(repeated, 3)}.'
            findings.append(error(f'{problem} Give each entry an id of its own.'))
    return findings or _check_file_names(content['images'], file)


def _check_file_names(images: Sequence[dict], file: str) -> list[Finding]:
    """Report names that are URLs, and names that several images share."""
    names = [image['file_name'] for image in images]
    if urls := [name for name in names if is_url(name)]:
        message = (
            f'{file}: file_name is a URL in {plural(len(urls), "image")}: {first_few(urls, 2)}. '
        )
        remedy = (
            'Download the images, and write their names relative to data_prefix of the dataset.'
        )
        return [error(f'{message}{remedy}')]
    if repeated := find_repeated(names):
        message = f'{file}: {plural(len(repeated), "file_name")} of several images: {first_few(repeated, 2)}. '
        return [
            error(f'{message}Each image would have some of the objects only: merge the entries.')
        ]
    return []


def _is_image(entry: dict) -> bool:
    sizes = (entry.get('width'), entry.get('height'))
    has_sizes = all(isinstance(size, int) and size > 0 for size in sizes)
    return has_sizes and is_id(entry.get('id')) and isinstance(entry.get('file_name'), str)


def _is_category(entry: dict) -> bool:
    return is_id(entry.get('id')) and isinstance(entry.get('name'), str)


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
