"""Checks of the objects in a COCO file one by one."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ...messages import Finding, error, first_few, plural, warning
from .defects import (
    CATEGORY_TYPE,
    ERROR,
    IGNORED,
    IMAGE_TYPE,
    NO_CATEGORY,
    NO_IMAGE,
    Defect,
    area_defect,
    box_defect,
    crowd_defect,
    mask_defect,
)
from .masks import mask_problem

EXAMPLES = 3
MOST_CROWDS = 0.1
"""Share of the annotations that may be crowds without a warning; it is 0.012 in COCO."""
FEW_CROWDS = 2
"""Crowds that are not too many, however few annotations there are."""
SHOWN = 40
"""Characters of a value that a message repeats."""


class Usage(NamedTuple):
    """How a data set uses its annotation file."""

    with_masks: bool  # whether masks are read
    skips_masks: (
        bool  # whether objects without a usable mask are skipped, instead of breaking the run
    )
    evaluation: bool  # whether it is evaluated on; otherwise it is trained on


class Ids:
    """The images and categories of a file by their ids."""

    def __init__(self, content: dict) -> None:
        images = content['images']
        categories = content['categories']
        self.images: dict[Any, dict] = {image['id']: image for image in images}
        self.categories: dict[Any, dict] = {category['id']: category for category in categories}

    @cached_property
    def _texts(self) -> dict[str, set[str]]:
        return dict(
            image_id={str(key) for key in self.images},
            category_id={str(key) for key in self.categories},
        )

    def find_image(self, annotation: dict) -> dict | None:
        """Return the image of an object, or None if the file does not have it."""
        image_id = annotation.get('image_id')
        return self.images.get(image_id) if isinstance(image_id, Hashable) else None

    def has_category(self, annotation: dict) -> bool:
        """Tell whether the file has the category of an object."""
        category_id = annotation.get('category_id')
        return isinstance(category_id, Hashable) and category_id in self.categories

    def differ_in_type(self, annotation: dict, field: str) -> bool:
        """Tell whether an id that the file does not have is in it as text instead of a number, or the reverse."""
        return str(annotation.get(field)) in self._texts[field]


def check_annotations(content: dict, file: str, usage: Usage) -> list[Finding]:
    """Report every kind of defect of the objects once, with its number and examples."""
    ids = Ids(content)
    annotations = content['annotations']
    counts: Counter[Defect] = Counter()
    examples: defaultdict[Defect, list[str]] = defaultdict(list)
    defects = ((a, defect) for a in annotations for defect in find_defects(a, ids, usage))
    for annotation, defect in defects:
        counts[defect] += 1
        if counts[defect] <= EXAMPLES:
            image = ids.find_image(annotation)
            examples[defect].append(_example(annotation, image, defect.field))
    findings: list[Finding] = []
    for defect, count in counts.items():
        finding = _report(defect, count, examples[defect], file, usage)
        if finding:
            findings.append(finding)
    return findings + _check_crowds(annotations, file)


def find_defects(annotation: dict, ids: Ids, usage: Usage) -> Iterator[Defect]:
    """Yield the defects of one object."""
    image = ids.find_image(annotation)
    if image is None:
        yield IMAGE_TYPE if ids.differ_in_type(annotation, 'image_id') else NO_IMAGE
        return
    if not ids.has_category(annotation):
        yield CATEGORY_TYPE if ids.differ_in_type(annotation, 'category_id') else NO_CATEGORY
    if annotation.get('ignore'):
        yield IGNORED
        return
    width, height = image['width'], image['height']
    checks = (
        box_defect(annotation.get('bbox'), width, height),
        area_defect(annotation.get('area')),
        crowd_defect(annotation),
    )
    yield from filter(None, checks)
    if not usage.with_masks:
        return
    if problem := mask_problem(annotation.get('segmentation'), width, height):
        yield mask_defect(problem, usage.skips_masks)


def _check_crowds(annotations: list[dict], file: str) -> list[Finding]:
    """Report crowds that are too many to be regions of many objects; some tools write 1 for every run-length code."""
    crowds = [annotation for annotation in annotations if annotation.get('iscrowd') in (1, '1')]
    most = max(FEW_CROWDS, MOST_CROWDS * len(annotations))
    if len(crowds) < len(annotations) and len(crowds) <= most:
        return []
    if not crowds:
        return []
    listed = first_few((f'id {annotation.get("id")}' for annotation in crowds), 2)
    message = (
        f'{file}: iscrowd is 1 in {len(crowds)} of {plural(len(annotations), "annotation")} ({listed}): neither '
        'training nor evaluation counts crowds as objects. '
        'Write 0 unless one annotation covers a region of many objects.'
    )
    return [error(message) if len(crowds) == len(annotations) else warning(message)]


def _example(annotation: dict, image: dict | None, field: str) -> str:
    name = image['file_name'] if image else 'no image'
    annotation_id = annotation.get('id')
    value = repr(annotation.get(field))
    if len(value) > SHOWN:
        value = f'{value[:SHOWN]}...'
    return f'id {annotation_id} on {name}: {value}'


def _report(
    defect: Defect, count: int, examples: Sequence[str], file: str, usage: Usage
) -> Finding | None:
    fate = defect.evaluation if usage.evaluation else defect.training
    if fate is None:
        return None
    listed = '; '.join(examples) + ('; ...' if count > len(examples) else '')
    message = f'{file}: {defect.field} {defect.problem} in {plural(count, "annotation")} ({listed})'
    if fate == ERROR:
        return error(f'{message}. {defect.remedy}.')
    return warning(f'{message}: {fate}. {defect.remedy}.')
