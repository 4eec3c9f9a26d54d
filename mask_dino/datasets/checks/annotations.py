"""The defects of an object in a COCO file, and what each kind means for a run."""

import math
from collections.abc import Hashable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from .masks import EMPTY_CODE, NO_PIXEL, mask_problem


class Defect(NamedTuple):
    """A kind of defect of an object, and what happens to such objects; None if the run is not affected."""

    field: str
    problem: str
    remedy: str
    training: str | None
    evaluation: str | None


ERROR = 'forbidden'
SKIPPED = 'skipped'
NEVER_FOUND = 'the evaluation keeps them and counts them as missed'

PIXELS = 'Write x, y, width, height in pixels; or remove the annotation'
NO_IMAGE = Defect(
    'image_id',
    'names no image of the file',
    'Correct it or remove the annotation',
    SKIPPED,
    'left out of the evaluation',
)
ONE_TYPE = 'Write both as numbers, or both as text'
IMAGE_TYPE = Defect(
    'image_id', 'is text where id of the images is a number, or the reverse', ONE_TYPE, ERROR, ERROR
)
CATEGORY_TYPE = Defect(
    'category_id',
    'is text where id of the categories is a number, or the reverse',
    ONE_TYPE,
    ERROR,
    ERROR,
)
NO_CATEGORY = Defect(
    'category_id',
    'is not among the categories of the file',
    'Correct it, or add the category',
    ERROR,
    ERROR,
)
BOX_FORM = Defect('bbox', 'is missing or not four finite numbers', PIXELS, ERROR, ERROR)
BOX_SMALL = Defect('bbox', 'has a side of less than one pixel', PIXELS, SKIPPED, NEVER_FOUND)
BOX_OUTSIDE = Defect('bbox', 'lies outside the image', PIXELS, SKIPPED, NEVER_FOUND)
BOX_CROSSES = Defect(
    'bbox',
    'reaches over the border of the image',
    f'{PIXELS} (or are they x1, y1, x2, y2?)',
    'clipped to the image',
    'kept as they are',
)
AREA_MISSING = Defect(
    'area', 'is missing or not a number', 'Write the area in pixels', ERROR, ERROR
)
AREA_ZERO = Defect(
    'area', 'is zero or less', 'Write the area in pixels, or remove the annotation', SKIPPED, None
)
CROWD_REMEDY = 'Write the number 0, or 1 for a region of many objects'
CROWD_MISSING = Defect('iscrowd', 'is missing', CROWD_REMEDY, None, ERROR)
CROWD_NULL = Defect('iscrowd', 'is null', CROWD_REMEDY, 'read as 0', ERROR)
CROWD_FORM = Defect('iscrowd', 'is neither 0 nor 1', CROWD_REMEDY, ERROR, ERROR)
IGNORE_SET = Defect(
    'ignore',
    'is set',
    'Correct ignore; or write iscrowd=1 if no object of the region should be counted; or remove the annotation',
    SKIPPED,
    'the evaluation does not read this field and counts them as objects',
)
CHECKED = "dataset type 'CheckedCocoDataset'"
MASK_REMEDY = (
    'Write polygons [[x, y, x, y, ...], ...], or a run-length code with the size [height, width] of the image, '
    'or remove the annotation'
)


class Usage(NamedTuple):
    """How a data set uses its annotation file."""

    with_masks: bool  # whether masks are read
    # Whether objects without a usable mask are skipped; otherwise they end the run.
    skips_masks: bool
    evaluation: bool  # whether it is used for evaluation; otherwise for training


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
        """Tell whether an id is unknown only because it is text and the ids of the file are numbers, or the reverse."""
        return str(annotation.get(field)) in self._texts[field]


def find_defects(annotation: dict, ids: Ids, usage: Usage) -> Iterator[Defect]:
    """Yield the defects of one object."""
    image = ids.find_image(annotation)
    if image is None:
        yield IMAGE_TYPE if ids.differ_in_type(annotation, 'image_id') else NO_IMAGE
        return
    if not ids.has_category(annotation):
        yield CATEGORY_TYPE if ids.differ_in_type(annotation, 'category_id') else NO_CATEGORY
    if annotation.get('ignore'):
        yield IGNORE_SET
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


def crowd_defect(annotation: dict) -> Defect | None:
    """Return what is wrong with iscrowd: any text is true to mmdet, and pycocotools needs a number."""
    if 'iscrowd' not in annotation:
        return CROWD_MISSING
    if annotation['iscrowd'] is None:
        return CROWD_NULL
    return None if is_flag(annotation['iscrowd']) else CROWD_FORM


def is_flag(value: Any) -> bool:
    """Tell whether a value of a JSON file is 0, 1, false or true."""
    return isinstance(value, int) and value in (0, 1)


def mask_defect(problem: str, skips: bool) -> Defect:
    """Return the defect of a segmentation; ``skips``: the data set skips objects without a mask."""
    has_no_pixel = problem in (NO_PIXEL, EMPTY_CODE)
    evaluation = NEVER_FOUND if has_no_pixel else ERROR
    if skips:
        fate = (
            'the polygon is skipped, with its object if that has no other'
            if problem.startswith('has a polygon')
            else SKIPPED
        )
        return Defect('segmentation', problem, MASK_REMEDY, fate, evaluation)
    fate = 'kept, with an empty mask' if has_no_pixel else ERROR
    return Defect(
        'segmentation',
        problem,
        f'{MASK_REMEDY}; {CHECKED} skips them in training',
        fate,
        evaluation,
    )
