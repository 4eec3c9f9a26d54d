"""Reading and checking a COCO annotation file as a whole."""

import gc
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import load

from ...messages import DataError, Finding, error, first_few, plural, warning
from .annotations import Usage, check_annotations

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
        message = f'{file}: {plural(len(broken), "image")} without all fields: {first_few(broken, 3)}. '
        findings.append(error(f'{message}Each needs id, file_name, and width and height in pixels.'))
    if broken := [category for category in content['categories'] if not _is_category(category)]:
        message = f'{file}: {len(broken)} of the categories without all fields: {first_few(broken, 3)}. '
        findings.append(error(f'{message}Each needs id and name.'))
    for name in LISTS:
        if twice := _repeated(entry.get('id') for entry in content[name]):
            message = f'{file}: {name} share {plural(len(twice), "id")}: '
            findings.append(error(f'{message}{first_few(twice, 3)}. Number them anew.'))
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


SEMANTIC_HEADS = ('decode_head', 'auxiliary_head')


def check_categories(content: dict, file: str, classes: Any) -> list[Finding]:
    """Compare the categories of a COCO file with ``metainfo.classes``: mmdet drops silently what does not match.

    mmdet numbers the classes in the order of the file, whatever the order in ``metainfo``.
    """
    if isinstance(classes, str):
        return [error(_string_message(classes))]
    names = [category['name'] for category in content['categories']]
    for place, listed in ((file, names), ('metainfo.classes', classes)):
        if twice := [name for name, count in Counter(listed).items() if count > 1]:
            return [error(f'{place} has more than one class called {first_few(twice)}; give each name once')]
    if absent := [name for name in classes if name not in names]:
        return [error(_absent_message(file, names, classes, absent))]
    found = [name for name in names if name in set(classes)]
    if found != list(classes):
        message = f'{file} lists its categories in another order than metainfo.classes, and mmdet numbers the classes '
        return [error(f'{message}by the file: objects would go by wrong names. {_fix(found)}')]
    return _left_out(content, file, set(classes))


def check_heads(heads: Mapping[str, Any], metainfo: Mapping) -> list[Finding]:
    """Compare the class counts of a model's heads, by their names in the config, with the classes of a data set."""
    classes = metainfo.get('classes') or ()
    if not classes or isinstance(classes, str):
        return []  # none are known, or check_categories speaks of them
    wanted = dict(num_classes=classes, num_things_classes=metainfo.get('thing_classes', classes))
    if 'stuff_classes' in metainfo:
        wanted['num_stuff_classes'] = metainfo['stuff_classes']
    findings = []
    for field, names in wanted.items():
        # Configs count the classes of semantic heads in one field, those of the others by kind.
        concerned = {name: head for name, head in heads.items() if (name in SEMANTIC_HEADS) == (field == 'num_classes')}
        given = {name: getattr(head, field) for name, head in concerned.items() if hasattr(head, field)}
        if any(count != len(names) for count in given.values()):
            counts = ' and '.join(f'model.{name}.{field} is {count}' for name, count in given.items())
            fix = ', '.join(f'{name}=dict({field}={len(names)})' for name in given)
            message = f'{counts}, but metainfo of the data names {len(names)}: {first_few(names)}. '
            findings.append(error(f'{message}Set model=dict({fix}).'))
    return findings


def check_same_classes(metainfos: Mapping[str, Mapping]) -> list[Finding]:
    """Compare the classes of data sets, whose meta information is given by the names of their loaders."""
    classes = {loader: metainfo.get('classes') or () for loader, metainfo in metainfos.items()}
    if len({tuple(names) for names in classes.values()}) < 2:
        return []
    listed = '; '.join(f'{loader}: {first_few(names)}' for loader, names in classes.items())
    return [error(f'The data sets differ in metainfo.classes ({listed}). Give all of them the same metainfo.')]


def _left_out(content: dict, file: str, classes: set[str]) -> list[Finding]:
    """Report the categories that a config leaves out, by intention or not."""
    names = {category['id']: category['name'] for category in content['categories']}
    counts = Counter(names.get(annotation.get('category_id')) for annotation in content['annotations'])
    rest = {name: count for name, count in counts.items() if name is not None and name not in classes}
    if not rest:
        return []
    listed = first_few(f'{name} ({count})' for name, count in rest.items())
    return [warning(f'{file}: left out are the annotations of categories not in metainfo.classes: {listed}')]


def _string_message(classes: str) -> str:
    return f"metainfo.classes is the string '{classes}', which counts as {len(classes)} classes. {_fix([classes])}"


def _absent_message(file: str, names: Sequence[str], classes: Sequence[str], absent: Iterable[str]) -> str:
    fix = 'Spell them as the file does, or add them to it. ' if set(names) & set(classes) else ''
    return (
        f'{file} has no category called {first_few(repr(name) for name in absent)}: mmdet would leave out such classes '
        f'and shift the others. metainfo.classes: {first_few(classes, 30)}. '
        f'Categories of the file: {first_few(names, 30)}. '
        f'{fix}{_fix(names)}'
    )


def _fix(names: Sequence[str]) -> str:
    """Write the line of a config; a class alone needs its comma."""
    return f'Write metainfo=dict(classes={tuple(names)!r}) in the dataset of every dataloader.'
