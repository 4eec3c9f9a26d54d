"""Faults of a COCO file that no single object shows: most objects lost, objects repeated, areas in other units."""

from collections import Counter
from collections.abc import Hashable
from typing import Any

from ...messages import Finding, error, first_few, plural, warning
from .annotations import (
    BOX_CROSSES,
    BOX_FORM,
    BOX_OUTSIDE,
    BOX_SMALL,
    Defect,
    box_defect,
)
from .masks import NO_PIXEL

MOST = 0.5
"""Share of the objects from which a fault is one of the whole file."""
FEWEST = 5
"""With fewer objects, a fault of most of them can be chance."""
AREA_SHARES = (0.01, 1.5)
"""Least and largest area of an object as a share of its box."""
QUESTIONS = {
    'bbox': 'Are the boxes in pixels of these images, and not of larger ones or in shares of the width and height?',
    'segmentation': 'Are the coordinates in pixels of these images, and not in shares of the width and height?',
}
"""What to look at where most objects of a file lie in the wrong place."""
MISPLACED = {BOX_SMALL.problem, BOX_OUTSIDE.problem, BOX_CROSSES.problem, NO_PIXEL}
"""Defects of objects that lie in the wrong place."""


def check_losses(
    counts: Counter[Defect], num_annotations: int, file: str, evaluation: bool
) -> list[Finding]:
    """Report fields whose defects cost most of the objects of a file.

    Args:
        counts: The number of annotations by defect.
        evaluation: Whether the file is evaluated on; otherwise it is trained on.
    """
    lost: Counter[str] = Counter()
    remedies: dict[str, str] = {}
    for defect, count in counts.most_common():
        fate = defect.evaluation if evaluation else defect.training
        if defect.field not in ('bbox', 'segmentation', 'area') or fate is None:
            continue
        lost[defect.field] += count
        is_misplaced = defect.problem in MISPLACED
        remedy = QUESTIONS[defect.field] if is_misplaced else f'{defect.remedy}.'
        remedies.setdefault(defect.field, remedy)
    return [
        error(
            f'{file}: {field} is unusable in {count} of {num_annotations} annotations. {remedies[field]}'
        )
        for field, count in lost.items()
        if count >= FEWEST and count > MOST * num_annotations
    ]


def check_repeated_objects(annotations: list[dict], file: str) -> list[Finding]:
    """Report objects that are annotated twice: a model finds them once, and so one of the two counts as missed."""
    first: dict[Any, dict] = {}
    repeated: list[str] = []
    for annotation in annotations:
        key = _object_key(annotation)
        if key is None:
            continue
        other = first.setdefault(key, annotation)
        is_same = other.get('segmentation') == annotation.get('segmentation')
        if other is not annotation and is_same:
            repeated.append(f'id {annotation.get("id")} like id {other.get("id")}')
    if not repeated:
        return []
    count = plural(len(repeated), 'annotation')
    message = f'{file}: {count} with image, category, bbox and segmentation of another one: {first_few(repeated, 2)}. '
    remedy = (
        'A model finds such an object once, and the other one counts as missed: remove the copies.'
    )
    return [warning(message + remedy)]


def _object_key(annotation: dict) -> tuple | None:
    """Return image, category and box of an object; None if one of them is missing or invalid."""
    box: Any = annotation.get('bbox')
    ids = (annotation.get('image_id'), annotation.get('category_id'))
    are_ids = all(isinstance(number, Hashable) for number in ids)
    if not are_ids or box_defect(box, 1, 1) == BOX_FORM:
        return None
    return (*ids, *box)


def check_areas(annotations: list[dict], file: str) -> list[Finding]:
    """Report areas that cannot be the areas of most objects: figures by size, as mAP_s, would be wrong."""
    smallest, largest = AREA_SHARES
    odd: list[str] = []
    for annotation in annotations:
        box: Any = annotation.get('bbox')
        area = annotation.get('area')
        if box_defect(box, 1, 1) == BOX_FORM or not isinstance(area, (int, float)):
            continue
        box_area = box[2] * box[3]
        if not smallest * box_area <= area <= largest * box_area:
            odd.append(f'id {annotation.get("id")}: {area} of a box of {box_area:g}')
    if len(odd) < FEWEST or len(odd) <= MOST * len(annotations):
        return []
    count = f'{len(odd)} of {len(annotations)} annotations'
    message = f'{file}: area does not fit bbox in {count} ({first_few(odd, 2, "; ")}). '
    remedy = 'Figures by the size of objects (mAP_s, mAP_m, mAP_l) would be wrong: write the area in pixels.'
    return [warning(message + remedy)]
