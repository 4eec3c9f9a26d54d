"""Boxes that are not x, y, width, height in pixels, as COCO writes them, but in another form."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...messages import Finding, error, first_few, plural, spread_evenly, warning
from .annotations import BOX_FORM, Ids, box_defect

FEWEST_BOXES = 5
"""With fewer boxes, a fault of all of them can be chance."""
CHANCE = 0.01
"""Probability from which on boxes can have the look of another form by chance."""
MANY_OUTSIDE = 0.25
"""Share of the boxes outside of their images from which COCO's form is out of the question."""
TRIED_PLACES = 8
"""Places along the width and the height of an image at which boxes are tried."""
TRIED = 1000
"""Number of boxes, evenly spread, that are tried."""
MANY_BOXES = 30
SMALL_REACH = 0.6
"""If many boxes all end before these shares of the width and height, they may be in other units."""
BOX_REMEDY = 'Write x, y, width, height in pixels.'


class BoxForm(NamedTuple):
    """A form of boxes (N, 4)."""

    name: str
    to_corners: Callable[[np.ndarray], np.ndarray]
    unit: float = 0  # of the width and height, 100 for percent; 0 for pixels

    def in_pixels(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Return x1, y1, x2, y2 (N, 4) of boxes (N, 4) of this form in images of sizes (N, 2)."""
        corners = self.to_corners(boxes)
        return corners * np.tile(sizes, 2) / self.unit if self.unit else corners


def from_starts(boxes: np.ndarray) -> np.ndarray:
    """Return the corners of boxes x, y, width, height (N, 4), which is COCO's form."""
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)


def _from_centres(boxes: np.ndarray) -> np.ndarray:
    return from_starts(np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]), 1))


def _from_corners(boxes: np.ndarray) -> np.ndarray:
    return boxes


def _exchange(values: np.ndarray) -> np.ndarray:
    """Exchange x and y, and width and height."""
    return values[:, [1, 0, 3, 2]]


def _from_exchanged_starts(boxes: np.ndarray) -> np.ndarray:
    return from_starts(_exchange(boxes))


FORMS = (
    BoxForm('x1, y1, x2, y2', _from_corners),
    BoxForm('the centre x, y and width, height', _from_centres),
    BoxForm('y1, x1, y2, x2', _exchange),
    BoxForm('y, x, height, width', _from_exchanged_starts),
    BoxForm('x, y, width, height in percent of the image', from_starts, 100),
    BoxForm('x1, y1, x2, y2 in percent of the image', _from_corners, 100),
    BoxForm('x, y, width, height in thousandths of the image', from_starts, 1000),
    BoxForm('x1, y1, x2, y2 (or y1, x1, y2, x2) in thousandths of the image', _from_corners, 1000),
)


def check_box_form(content: dict, file: str) -> list[Finding]:
    """Report boxes that have the look of another form: all lie in their images in this form, and not in COCO's."""
    ids = Ids(content)
    known = [(ids.find_image(entry), entry.get('bbox')) for entry in content['annotations']]
    used = [(image, box) for image, box in known if image is not None and _is_box(box)]
    if len(used) < FEWEST_BOXES:
        return []
    boxes = np.array([box for _, box in used], float)
    sizes = np.array([(image['width'], image['height']) for image, _ in used], float)
    count = plural(len(boxes), 'annotation')
    if (boxes >= 0).all() and (boxes <= 1).all():
        listed = _list_boxes(boxes, range(len(boxes)))
        message = f'{file}: bbox is in shares of the width and height of the image in all of {count} ({listed}). '
        return [error(f'{message}Multiply the shares by the width and height. {BOX_REMEDY}')]
    outside = np.flatnonzero(~_lie_inside(from_starts(boxes), sizes))
    if not len(outside):
        return _check_reach(boxes, sizes, file)
    form = _find_form(boxes, sizes)
    if form is None:
        return []
    listed = _list_boxes(boxes, outside)
    return [
        error(f'{file}: bbox looks like {form.name} in all of {count} ({listed}). {BOX_REMEDY}')
    ]


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and box_defect(box, 1, 1) is not BOX_FORM


def _list_boxes(boxes: np.ndarray, indices: Sequence[int] | np.ndarray) -> str:
    return first_few((boxes[index].round(3).tolist() for index in indices), 2)


def _lie_inside(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Tell which corners (N, 4) belong to boxes inside images of sizes (N, 2); one pixel outside is rounding."""
    is_box = corners[:, 2:] > corners[:, :2]
    is_inside = (corners[:, :2] >= -1) & (corners[:, 2:] <= sizes + 1)
    return np.asarray((is_box & is_inside).all(1))


def _find_form(boxes: np.ndarray, sizes: np.ndarray) -> BoxForm | None:
    """Return the form in which all boxes (N, 4) lie in their images, if that is no chance."""
    is_mostly_wrong = (~_lie_inside(from_starts(boxes), sizes)).mean() >= MANY_OUTSIDE
    for form in FORMS:
        is_possible = _lie_inside(form.in_pixels(boxes, sizes), sizes).all()
        if is_possible and (is_mostly_wrong or _chance(form, boxes, sizes) < CHANCE):
            return form
    return None


def _chance(form: BoxForm, boxes: np.ndarray, sizes: np.ndarray) -> float:
    """Return the probability that boxes x, y, width, height of these sizes, anywhere in their images, have a form."""
    tried = list(spread_evenly(len(boxes), TRIED))
    sides = boxes[tried, 2:]
    sizes = sizes[tried]
    is_possible = (sides <= sizes + 1).all(1)
    hits = np.zeros(len(tried))
    for shares in np.ndindex(TRIED_PLACES, TRIED_PLACES):
        steps = np.array(shares) / (TRIED_PLACES - 1)
        starts = (sizes - sides).clip(0) * steps
        corners = form.in_pixels(np.concatenate((starts, sides), 1), sizes)
        hits += _lie_inside(corners, sizes) & is_possible
    chances = hits / TRIED_PLACES**2
    return float(chances.prod())


def _check_reach(boxes: np.ndarray, sizes: np.ndarray, file: str) -> list[Finding]:
    """Report many boxes that all lie in the upper left of their images."""
    reach = (from_starts(boxes)[:, 2:] / sizes).max(0)
    if len(boxes) < MANY_BOXES or (reach > SMALL_REACH).any():
        return []
    width, height = (f'{share:.0%}' for share in reach)
    count = plural(len(boxes), 'annotation')
    listed = _list_boxes(boxes, range(len(boxes)))
    message = f'{file}: bbox ends before {width} of the width and {height} of the height in all of '
    message += f'{count} ({listed}). '
    return [
        warning(f'{message}Are the boxes in percent, or in pixels of smaller images? {BOX_REMEDY}')
    ]
