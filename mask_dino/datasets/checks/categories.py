"""Comparing the classes of a config with the categories of a COCO file and with the heads of a model."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from ...messages import Finding, error, first_few, warning

SEMANTIC_HEADS = ('decode_head', 'auxiliary_head')


def is_id(value: Any) -> bool:
    """Tell whether a value can be an id: text or a number."""
    return isinstance(value, (int, str))


def find_repeated(values: Iterable[Any]) -> list[Any]:
    """Return the values that occur more than once."""
    hashable = [value if isinstance(value, Hashable) else repr(value) for value in values]
    counts = Counter(hashable)
    if len(counts) == len(hashable):
        return []
    return [value for value, count in counts.items() if count > 1]


def check_categories(content: dict, file: str, classes: Any) -> list[Finding]:
    """Compare the categories of a COCO file with ``metainfo.classes``.

    mmdet drops categories that do not match, without a message, and numbers the classes in the order of the file,
    whatever the order in ``metainfo``.
    """
    if isinstance(classes, str):
        return [error(_string_message(classes))]
    names = [category['name'] for category in content['categories']]
    if repeated := find_repeated(names):
        listed, fix = first_few(repeated), _remove(content, repeated)
        return [error(f'{file} has more than one category called {listed}; {fix}')]
    if repeated := find_repeated(classes):
        listed = first_few(repeated)
        message = f'metainfo.classes has more than one class called {listed}; give each name once'
        return [error(message)]
    placeholders = find_placeholders(content)
    offered = [name for name in names if name not in placeholders]
    if absent := [name for name in classes if name not in names]:
        return [error(_absent_message(file, offered, classes, absent))]
    in_file_order = [name for name in names if name in set(classes)]
    if in_file_order != list(classes):
        message = f'{file} lists its categories in another order than metainfo.classes, and mmdet numbers the classes '
        fix = _fix(in_file_order)
        return [error(f'{message}by the file: objects would go by wrong names. {fix}')]
    findings = _left_out(content, file, set(classes))
    if needless := [name for name in classes if name in placeholders]:
        message = f'{file}: {first_few(needless)} groups other categories and has no annotation, so it is no class. '
        fix = _fix([name for name in classes if name not in placeholders])
        findings.append(warning(message + fix))
    return findings


def find_placeholders(content: dict) -> set[str]:
    """Return the categories that annotation services add to group others: without annotation, but a supercategory."""
    used = {
        annotation.get('category_id')
        for annotation in content['annotations']
        if _has_category_id(annotation)
    }
    if not used:
        return set()  # nothing is annotated, as in a test set
    groups = {
        category.get('supercategory')
        for category in content['categories']
        if category['id'] in used
    }
    unused = {category['name'] for category in content['categories'] if category['id'] not in used}
    return unused & groups


def _has_category_id(annotation: dict) -> bool:
    return is_id(annotation.get('category_id'))


def _remove(content: dict, repeated: Iterable[str]) -> str:
    """Say which of the categories of one name to remove: the one without annotation, if there is one."""
    used = {
        annotation.get('category_id')
        for annotation in content['annotations']
        if _has_category_id(annotation)
    }
    same_name = [category for category in content['categories'] if category['name'] in repeated]
    unused = [category['id'] for category in same_name if category['id'] not in used]
    if not unused:
        return 'give each name once'
    return f'remove the one without annotations: id {first_few(unused)}'


def check_heads(heads: Mapping[str, Any], metainfo: Mapping) -> list[Finding]:
    """Compare the class counts of a model's heads, by their names in the config, with the classes of a data set."""
    classes = metainfo.get('classes') or ()
    if not classes or isinstance(classes, str):
        return []  # no class is known, or check_categories reports the string
    things = metainfo.get('thing_classes', classes)
    expected = dict(num_classes=classes, num_things_classes=things)
    if 'stuff_classes' in metainfo:
        expected['num_stuff_classes'] = metainfo['stuff_classes']
    findings = []
    for field, names in expected.items():
        # Configs count the classes of semantic heads in one field, and the classes of other heads by kind.
        is_semantic = field == 'num_classes'
        counts = {
            name: getattr(head, field)
            for name, head in heads.items()
            if (name in SEMANTIC_HEADS) == is_semantic and hasattr(head, field)
        }
        expected_count = len(names)
        is_wrong = any(count != expected_count for count in counts.values())
        if is_wrong:
            stated = ' and '.join(
                f'model.{name}.{field} is {count}' for name, count in counts.items()
            )
            fix = ', '.join(f'{name}=dict({field}={expected_count})' for name in counts)
            listed = first_few(names)
            problem = f'{stated}, but metainfo of the data names {expected_count}: {listed}.'
            findings.append(error(f'{problem} Set model=dict({fix}).'))
    return findings


def check_same_classes(metainfos: Mapping[str, Mapping]) -> list[Finding]:
    """Compare the classes of data sets, whose meta information is given by the names of their loaders."""
    pairs = metainfos.items()
    classes = {loader: tuple(metainfo.get('classes') or ()) for loader, metainfo in pairs}
    if len(set(classes.values())) < 2:
        return []
    listed = '; '.join(f'{loader}: {first_few(names)}' for loader, names in classes.items())
    problem = f'The data sets differ in metainfo.classes ({listed}).'
    return [error(f'{problem} Give all of them the same metainfo.')]


def _left_out(content: dict, file: str, classes: set[str]) -> list[Finding]:
    """Report the categories that a config leaves out, by intention or not."""
    names = {category['id']: category['name'] for category in content['categories']}
    ids = (
        annotation['category_id']
        for annotation in content['annotations']
        if _has_category_id(annotation)
    )
    counts = Counter(map(names.get, ids))
    rest = {
        name: count for name, count in counts.items() if name is not None and name not in classes
    }
    if not rest:
        return []
    listed = first_few(f'{name} ({count})' for name, count in rest.items())
    problem = 'left out are the annotations of categories not in metainfo.classes'
    return [warning(f'{file}: {problem}: {listed}')]


def _string_message(classes: str) -> str:
    return f"metainfo.classes is the string '{classes}', which counts as {len(classes)} classes. {_fix([classes])}"


def _absent_message(
    file: str, names: Sequence[str], classes: Sequence[str], absent: Iterable[str]
) -> str:
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
