"""Reading and checking a COCO annotation file as a whole."""

import gc
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import load

from ...messages import DataError, Finding, error, first_few, is_url, plural, warning
from .annotations import Usage, check_annotations
from .mask_fit import check_box_form, check_mask_fit

LISTS = ('images', 'annotations', 'categories')


def read_coco(path: str, backend_args: dict | None = None) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: If it does not exist or is not such a file.
    """
    try:
        with _no_garbage_collection():
            return load(path, file_format='json', backend_args=backend_args)
    except FileNotFoundError as reason:
        raise DataError(f'{path} does not exist; correct data_root or ann_file in the config') from reason
    except ValueError as reason:
        raise DataError(f'{path} is not a JSON file ({reason}); export it again') from reason


def check_coco(content: Any, file: str, classes: Any, usage: Usage, complete: bool = False) -> list[Finding]:
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
            return [
                error(f"{file} has no list '{name}' of objects: it is not in COCO's format for instances. Convert it.")
            ]
    findings = []
    if broken := [image for image in content['images'] if not _is_image(image)]:
        message = f'{file}: {plural(len(broken), "image")} without all fields: {first_few(broken, 3)}. '
        findings.append(error(f'{message}Each needs id, file_name, and width and height as whole numbers of pixels.'))
    if broken := [category for category in content['categories'] if not _is_category(category)]:
        message = f'{file}: {len(broken)} of the categories without all fields: {first_few(broken, 3)}. '
        findings.append(error(f'{message}Each needs id and name.'))
    for name in LISTS:
        if repeated := _find_repeated(entry.get('id') for entry in content[name]):
            message = f'{file}: {plural(len(repeated), "id")} of {name} used more than once: '
            findings.append(error(f'{message}{first_few(repeated, 3)}. Give each entry an id of its own.'))
    return findings or _check_file_names(content['images'], file)


def _check_file_names(images: Sequence[dict], file: str) -> list[Finding]:
    """Report names that are URLs, and names that several images share."""
    names = [image['file_name'] for image in images]
    if urls := [name for name in names if is_url(name)]:
        message = f'{file}: file_name is a URL in {plural(len(urls), "image")}: {first_few(urls, 2)}. '
        remedy = 'Download the images, and write their names relative to data_prefix of the dataset.'
        return [error(f'{message}{remedy}')]
    if repeated := _find_repeated(names):
        message = f'{file}: {plural(len(repeated), "file_name")} of several images: {first_few(repeated, 2)}. '
        return [error(f'{message}Each image would have some of the objects only: merge the entries.')]
    return []


def _is_image(entry: dict) -> bool:
    sizes = (entry.get('width'), entry.get('height'))
    has_sizes = all(isinstance(size, int) and size > 0 for size in sizes)
    return has_sizes and _is_id(entry.get('id')) and isinstance(entry.get('file_name'), str)


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def _is_category(entry: dict) -> bool:
    return _is_id(entry.get('id')) and isinstance(entry.get('name'), str)


def _find_repeated(values: Iterable[Any]) -> list[Any]:
    hashable = [value if isinstance(value, Hashable) else repr(value) for value in values]
    if len(set(hashable)) == len(hashable):
        return []
    return [value for value, count in Counter(hashable).items() if count > 1]


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
    if repeated := _find_repeated(names):
        return [error(f'{file} has more than one category called {first_few(repeated)}; {_remove(content, repeated)}')]
    if repeated := _find_repeated(classes):
        return [error(f'metainfo.classes has more than one class called {first_few(repeated)}; give each name once')]
    placeholders = find_placeholders(content)
    offered = [name for name in names if name not in placeholders]
    if absent := [name for name in classes if name not in names]:
        return [error(_absent_message(file, offered, classes, absent))]
    in_file_order = [name for name in names if name in set(classes)]
    if in_file_order != list(classes):
        message = f'{file} lists its categories in another order than metainfo.classes, and mmdet numbers the classes '
        return [error(f'{message}by the file: objects would go by wrong names. {_fix(in_file_order)}')]
    findings = _left_out(content, file, set(classes))
    if needless := [name for name in classes if name in placeholders]:
        message = f'{file}: {first_few(needless)} groups other categories and has no annotation, so it is no class. '
        findings.append(warning(message + _fix([name for name in classes if name not in placeholders])))
    return findings


def find_placeholders(content: dict) -> set[str]:
    """Return the categories that annotation services add to group others: without annotation, but a supercategory."""
    used = {annotation.get('category_id') for annotation in content['annotations'] if _has_category_id(annotation)}
    if not used:
        return set()  # nothing is annotated, as in a test set
    groups = {category.get('supercategory') for category in content['categories'] if category['id'] in used}
    unused = {category['name'] for category in content['categories'] if category['id'] not in used}
    return unused & groups


def _has_category_id(annotation: dict) -> bool:
    return _is_id(annotation.get('category_id'))


def _remove(content: dict, repeated: Iterable[str]) -> str:
    """Say which of the categories of one name to remove: the one without annotation, if there is one."""
    used = {annotation.get('category_id') for annotation in content['annotations'] if _has_category_id(annotation)}
    same_name = [category for category in content['categories'] if category['name'] in repeated]
    unused = [category['id'] for category in same_name if category['id'] not in used]
    if not unused:
        return 'give each name once'
    return f'remove the one without annotations: id {first_few(unused)}'


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
        # Configs count the classes of semantic heads in one field, and the classes of other heads by kind.
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
    pairs = metainfos.items()
    classes = {loader: tuple(metainfo.get('classes') or ()) for loader, metainfo in pairs}
    if len(set(classes.values())) < 2:
        return []
    listed = '; '.join(f'{loader}: {first_few(names)}' for loader, names in classes.items())
    return [error(f'The data sets differ in metainfo.classes ({listed}). Give all of them the same metainfo.')]


def _left_out(content: dict, file: str, classes: set[str]) -> list[Finding]:
    """Report the categories that a config leaves out, by intention or not."""
    names = {category['id']: category['name'] for category in content['categories']}
    ids = (annotation['category_id'] for annotation in content['annotations'] if _has_category_id(annotation))
    counts = Counter(map(names.get, ids))
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
    """Return the line of a config. A tuple of one class needs its comma."""
    return f'Write metainfo=dict(classes={tuple(names)!r}) in the dataset of every dataloader.'
