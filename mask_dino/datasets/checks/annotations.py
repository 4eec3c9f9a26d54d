"""Reports on the objects in a COCO file that cannot be used."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ...messages import Finding, error, plural, warning
from .masks import NO_PIXEL, mask_problem


class Defect(NamedTuple):
    """One kind of defect of an object; a run that has no fate for it does not mind."""

    field: str
    problem: str
    remedy: str
    training: str | None  # what becomes of such objects
    evaluation: str | None


ERROR = 'forbidden'
SKIPPED = 'skipped'
NEVER_FOUND = 'kept by the evaluation, as objects that nothing finds'

PIXELS = 'Write x, y, width, height in pixels; or remove the annotation'
NO_IMAGE = Defect('image_id', 'names no image of the file', 'Correct it or remove the annotation', SKIPPED, None)
NO_CATEGORY = Defect(
    'category_id', 'is not among the categories of the file', 'Correct it, or add the category', ERROR, ERROR
)
BOX_FORM = Defect('bbox', 'is missing or not four finite numbers', PIXELS, ERROR, ERROR)
BOX_SMALL = Defect('bbox', 'has a side of less than one pixel', PIXELS, SKIPPED, NEVER_FOUND)
BOX_OUTSIDE = Defect('bbox', 'lies outside the image', PIXELS, SKIPPED, NEVER_FOUND)
BOX_CROSSES = Defect(
    'bbox',
    'reaches over the border of the image',
    f'{PIXELS} (or are they x1, y1, x2, y2?)',
    'clipped to the image',
    None,
)
AREA_MISSING = Defect('area', 'is missing or not a number', 'Write the area in pixels', ERROR, ERROR)
AREA_ZERO = Defect('area', 'is zero or less', 'Write the area in pixels, or remove the annotation', SKIPPED, None)
CROWD_MISSING = Defect('iscrowd', 'is missing', 'Write 0, or 1 for a region of many objects', None, ERROR)
CHECKED = "dataset type 'CheckedCocoDataset'"
MASK_REMEDY = 'Write polygons or a run-length code of the size of the image, or remove the annotation'


def box_defect(box: Any, width: int, height: int) -> Defect | None:
    """Return what is wrong with a box x, y, width, height."""
    try:
        x, y, w, h = box
        finite = math.isfinite(x + y + w + h)
    except (TypeError, ValueError):
        return BOX_FORM
    if not finite:
        return BOX_FORM
    if w < 1 or h < 1:
        return BOX_SMALL
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return BOX_OUTSIDE
    # One pixel over is rounding.
    return BOX_CROSSES if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1 else None


def area_defect(area: Any) -> Defect | None:
    """Return what is wrong with an area."""
    if not isinstance(area, (int, float)) or not math.isfinite(area):
        return AREA_MISSING
    return AREA_ZERO if area <= 0 else None


def mask_defect(problem: str, skips: bool) -> Defect:
    """Return the defect of a segmentation."""
    evaluation = NEVER_FOUND if problem == NO_PIXEL else ERROR
    if skips:
        fate = 'the polygon is skipped, with its object if that has no other' if 'polygon' in problem else SKIPPED
        return Defect('segmentation', problem, MASK_REMEDY, fate, evaluation)
    fate = 'kept, with an empty mask' if problem == NO_PIXEL else ERROR
    return Defect('segmentation', problem, f'{MASK_REMEDY}; {CHECKED} skips them in training', fate, evaluation)


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
    message = f'{file}: {defect.field} {defect.problem} in {plural(count, "annotation")} ({listed})'
    if fate == ERROR:
        return error(f'{message}. {defect.remedy}.')
    return warning(f'{message}: {fate}. {defect.remedy}.')
