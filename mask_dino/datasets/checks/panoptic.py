"""What is wrong with the JSON file of panoptic annotations."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...messages import Finding, error, first_few
from ..panoptic_png import EXPORT, IDS, VOID
from .annotations import BOX_FORM, box_defect, is_flag
from .categories import check_categories
from .coco_file import EXAMPLES, check_structure

FORM = "it is not in COCO's panoptic format"
CROWD = 'iscrowd is neither 0 nor 1; write 1 for a region of many objects, else 0'


def check_panoptic(
    content: Any, file: str, metainfo: Mapping[str, Any], evaluation: bool, by_name: bool
) -> list[Finding]:
    """Report everything that is wrong with a file or does not fit the classes of the config.

    Args:
        by_name: Whether the data set numbers classes by their names in the config, not in the order of the file.
    """
    findings = _check_lists(content, file, evaluation)
    findings = findings or _check_annotations(content, file, evaluation)
    if findings:
        return findings
    segments = [
        segment
        for entry in content.get('annotations', ())
        for segment in entry['segments_info']
        if isinstance(segment, dict)
    ]
    categories = content['categories']
    if by_name:
        place = {name: number for number, name in enumerate(metainfo['classes'])}
        categories = sorted(
            categories, key=lambda category: place.get(category['name'], len(place))
        )
    compared = dict(annotations=segments, categories=categories)
    findings = check_categories(compared, file, metainfo['classes'])
    findings += _check_kinds(content['categories'], file, metainfo)
    return findings + _check_segments(content, file)


def _check_lists(content: Any, file: str, evaluation: bool) -> list[Finding]:
    """Report what makes a file unreadable as a whole; test sets may keep their annotations secret."""
    known = isinstance(content, dict)
    if findings := check_structure(content | dict(annotations=[]) if known else content, file):
        return findings
    annotations = content.get('annotations', [] if evaluation else None)
    is_list = isinstance(annotations, list)
    if not is_list or not all(isinstance(entry, dict) for entry in annotations):
        return [error(f"{file} has no list 'annotations' of objects: {FORM}. Convert it.")]
    categories = content['categories']
    broken = [category for category in categories if category.get('isthing') not in (0, 1)]
    if broken:
        listed = first_few((category['name'] for category in broken), 5)
        problem = f'{file}: categories without isthing: {listed}.'
        return [error(f'{problem} Write 1 for things and 0 for stuff.')]
    return []


def _check_annotations(content: dict, file: str, evaluation: bool) -> list[Finding]:
    """Report annotations without an image, second annotations of an image, and incomplete annotations."""
    entries = content.get('annotations', [])
    for field, kind in dict(file_name=str, segments_info=list).items():
        broken = [entry for entry in entries if not isinstance(entry.get(field), kind)]
        if broken:
            listed = first_few((entry.get('image_id') for entry in broken), 5)
            message = (
                f'annotations without {field}, of the images with id {listed}: {FORM}. {EXPORT}.'
            )
            return [error(f'{file}: {message}')]
    problems = [*_shared_pngs(entries), *_unpaired_images(content, evaluation)]
    return [error(f'{file}: {problem}') for problem in problems]


def _shared_pngs(entries: list[dict]) -> Iterator[str]:
    """Yield what is wrong where several annotations name one PNG."""
    counts = Counter(entry['file_name'] for entry in entries)
    shared = [name for name, count in counts.items() if count > 1]
    if shared:
        yield f'annotations share the PNG {first_few(shared, 5)}. Name the one of each image.'


def _unpaired_images(content: dict, evaluation: bool) -> Iterator[str]:
    """Yield where images and annotations are not one to one."""
    images = {image['id']: image for image in content['images']}
    entries = content.get('annotations', [])
    counts = Counter(entry.get('image_id') for entry in entries)
    repeated = [number for number, count in counts.items() if count > 1]
    if repeated:
        listed = first_few(repeated, 5)
        yield f'more than one annotation of the images with id {listed}. Keep one.'
    unknown = [number for number in counts if number not in images]
    if unknown:
        listed = first_few(unknown, 5)
        yield f'annotations of images that it lacks: image_id {listed}. Remove them.'
    missing = [image['file_name'] for number, image in images.items() if number not in counts]
    if missing and (entries or not evaluation):
        listed = first_few(missing, 5)
        yield f'images without annotation: {listed}. Add it, or remove the images.'


def _check_kinds(categories: list[dict], file: str, metainfo: Mapping[str, Any]) -> list[Finding]:
    """Report classes that are things in one place and stuff in the other."""
    classes = list(metainfo['classes'])
    things = list(metainfo.get('thing_classes', ()))
    stuff = list(metainfo.get('stuff_classes', ()))
    if len(classes) > VOID:
        count = f'{len(classes)} classes, but panoptic data can have {VOID} at most'
        return [error(f'metainfo.classes: {count}.')]
    if [*things, *stuff] != classes:
        return [error(_order_message(categories, file))]
    wrong = [
        category['name']
        for category in categories
        if category['name'] in classes and category['isthing'] != (category['name'] in things)
    ]
    if not wrong:
        return []
    problem = f'isthing differs from metainfo.thing_classes for {first_few(wrong, 5)}'
    remedy = 'Correct isthing there, or metainfo in the config.'
    return [error(f'{file}: {problem}. {remedy}')]


def _order_message(categories: list[dict], file: str) -> str:
    """Return the message about classes that are not the things followed by the stuff."""
    things = tuple(category['name'] for category in categories if category['isthing'])
    stuff = tuple(category['name'] for category in categories if not category['isthing'])
    problem = 'metainfo.thing_classes and metainfo.stuff_classes, one after the other, are not metainfo.classes'
    fix = f'metainfo=dict(classes=..., thing_classes={things!r}, stuff_classes={stuff!r})'
    return f'{problem}. Write the things of {file} first: {fix}.'


def _check_segments(content: dict, file: str) -> list[Finding]:
    """Report segments that cannot be used, each kind of problem once with its number and examples."""
    categories = {category['id'] for category in content['categories']}
    images = {image['id']: image for image in content['images']}
    places: dict[str, list[str]] = {}
    for entry in content.get('annotations', ()):
        image = images[entry['image_id']]
        for segment_id, problem in _problems(entry['segments_info'], categories, image):
            place = f'id {segment_id} on {entry["file_name"]}'
            places.setdefault(problem, []).append(place)
    findings = []
    for problem, listed in places.items():
        examples = first_few(listed, EXAMPLES, '; ')
        findings.append(error(f'{file}: segments_info: {problem} ({examples}).'))
    return findings


def _problems(segments: list[Any], categories: set, image: dict) -> Iterator[tuple[Any, str]]:
    """Yield the id and the problem of segments of one image."""
    whole = [segment for segment in segments if isinstance(segment, dict)]
    if len(whole) < len(segments):
        yield None, f'an entry that is no object. {EXPORT}'
    counts = Counter(repr(segment.get('id')) for segment in whole)
    for segment in whole:
        number = segment.get('id')
        if not isinstance(number, int) or not 0 < number < IDS:
            yield number, f'id is not a whole number from 1 to {IDS - 1}. {EXPORT}'
        if counts[repr(number)] > 1:
            yield (
                number,
                'more than one segment of an image has the same id; give them new numbers, also in the PNG',
            )
        if segment.get('category_id') not in categories:
            yield (
                number,
                'category_id is not among the categories of the file; correct it, or add the category',
            )
        if not is_flag(segment.get('iscrowd', 0)):
            yield number, CROWD
        if box_defect(segment.get('bbox'), image['width'], image['height']) == BOX_FORM:
            yield number, f'bbox {BOX_FORM.problem}; write x, y, width, height in pixels'
