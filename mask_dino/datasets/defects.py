"""Kinds of defects of the objects in a COCO file, and what becomes of such objects."""

import math
from typing import Any, NamedTuple

from .masks import NO_PIXEL


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
