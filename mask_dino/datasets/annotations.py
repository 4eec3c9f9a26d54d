"""Reports on the objects in a COCO file that cannot be used."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .defects import CROWD_MISSING, ERROR, NO_CATEGORY, NO_IMAGE, Defect, area_defect, box_defect, mask_defect
from .findings import Finding, error, number, warning
from .masks import mask_problem

EXAMPLES = 3
SHOWN = 40
"""Characters of a value that a message repeats."""


class Usage(NamedTuple):
    """What a data set's file serves for."""

    with_masks: bool  # whether masks are read
    skips_masks: bool  # whether objects without a usable mask are skipped, instead of breaking the run
    evaluation: bool  # whether it is evaluated on, or trained


def check_annotations(content: dict, file: str, usage: Usage) -> list[Finding]:
    """Report the defects of the objects of a COCO file, each kind once with its number and examples."""
    counts: Counter[Defect] = Counter()
    examples: defaultdict[Defect, list[str]] = defaultdict(list)
    for defect, annotation, image in _all_defects(content, usage):
        counts[defect] += 1
        if counts[defect] <= EXAMPLES:
            examples[defect].append(_example(annotation, image, defect.field))
    reports = (_report(defect, counts[defect], examples[defect], file, usage) for defect in counts)
    return [finding for finding in reports if finding]


def find_defects(annotation: dict, image: dict | None, categories: set, usage: Usage) -> Iterator[Defect]:
    """Yield the defects of one object."""
    if image is None:
        yield NO_IMAGE
        return
    if annotation.get('category_id') not in categories:
        yield NO_CATEGORY
    if annotation.get('ignore'):
        return
    width, height = image['width'], image['height']
    if defect := box_defect(annotation.get('bbox'), width, height):
        yield defect
    if defect := area_defect(annotation.get('area')):
        yield defect
    if 'iscrowd' not in annotation:
        yield CROWD_MISSING
    if usage.with_masks and (problem := mask_problem(annotation.get('segmentation'), width, height)):
        yield mask_defect(problem, usage.skips_masks)


def _all_defects(content: dict, usage: Usage) -> Iterator[tuple[Defect, dict, dict | None]]:
    """Yield all defects, with their object and its image."""
    images = {image['id']: image for image in content['images']}
    categories = {category['id'] for category in content['categories']}
    for annotation in content['annotations']:
        image = images.get(annotation.get('image_id'))
        for defect in find_defects(annotation, image, categories, usage):
            yield defect, annotation, image


def _example(annotation: dict, image: dict | None, field: str) -> str:
    name = image['file_name'] if image else 'no image'
    value = repr(annotation.get(field))
    return f'id {annotation.get("id")} on {name}: {value if len(value) <= SHOWN else f"{value[:SHOWN]}..."}'


def _report(defect: Defect, count: int, examples: Sequence[str], file: str, usage: Usage) -> Finding | None:
    fate = defect.evaluation if usage.evaluation else defect.training
    if fate is None:
        return None
    listed = '; '.join(examples) + ('; ...' if count > len(examples) else '')
    message = f'{file}: {defect.field} {defect.problem} in {number(count, "annotation")} ({listed})'
    if fate == ERROR:
        return error(f'{message}. {defect.remedy}.')
    return warning(f'{message}: {fate}. {defect.remedy}.')
