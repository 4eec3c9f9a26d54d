"""Boxes that are x1, y1, x2, y2, and masks that lie elsewhere than their boxes."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...messages import Finding, error, first_few, plural, spread_evenly, warning
from .annotations import BOX_CROSSES, BOX_FORM, Ids, box_defect
from .masks import exchanged_extent, mask_extent, usable_mask

MASKS = 20_000
"""Number of masks of a file, evenly spread, that are compared with their boxes before a training."""
TOLERANCE = 2.0
"""How many pixels a side of a mask may differ from the side of its box, whatever its size."""
RELATIVE_TOLERANCE = 0.1
"""The same, as a share of the width or height of the box."""
EXPLAINED = 1000
"""Number of misfits for which a reason is searched."""
UNEXPLAINED = 'Compute bbox from segmentation, or correct segmentation.'
EXCHANGED = (
    'x and y are exchanged: write polygons as x, y, x, y, ..., and run lengths down the columns, as of '
    "mask.ravel(order='F')."
)
SHIFTED = 'Masks and boxes have one size but lie apart: correct the offset of segmentation.'
SCALED = 'Masks are boxes times {} in x and y: scale segmentation to the size of the image.'
FEWEST_BOXES = 5
"""With fewer boxes, a fault of all of them can be chance."""


def check_box_form(content: dict, file: str) -> list[Finding]:
    """Report boxes that are x1, y1, x2, y2: in this form all lie in their images, but in COCO's form some do not."""
    ids = Ids(content)
    boxes, sizes = [], []
    for annotation in content['annotations']:
        image = ids.find_image(annotation)
        box = annotation.get('bbox')
        if image is None or not _is_box(box):
            continue
        boxes.append(box)
        sizes.append((image['width'], image['height']))
    if len(boxes) < FEWEST_BOXES:
        return []
    corners, limits = np.array(boxes, float), np.array(sizes, float)
    are_corners = (corners[:, 2:] > corners[:, :2]).all() and (corners[:, 2:] <= limits + 1).all()
    crosses = (corners[:, :2] + corners[:, 2:] > limits + 1).any(1)
    if not are_corners or not crosses.any():
        return []
    message = f'{file}: bbox looks like x1, y1, x2, y2 in all of {plural(len(boxes), "annotation")}'
    listed = first_few((boxes[index] for index in np.flatnonzero(crosses)), 2)
    return [error(f'{message} ({listed}). Write x, y, width, height.')]


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and box_defect(box, 1, 1) is not BOX_FORM


class MaskedObject(NamedTuple):
    """An object whose box and mask can both be used."""

    name: str  # for messages
    box: list[float]  # x, y, width, height, as it is written
    segmentation: list | dict
    size: tuple[int, int]  # width, height of its image


def check_mask_fit(content: dict, file: str, complete: bool = False) -> list[Finding]:
    """Report masks that do not fit their boxes, and the most likely reason.

    Args:
        complete: Whether to decode all masks; otherwise some, evenly spread.
    """
    objects = list(_masked_objects(content, complete))
    if not objects:
        return []
    masks, corners = _mask_extents(objects), _clipped_corners(objects)
    misfits = np.flatnonzero(~_fits(masks, corners))
    if not len(misfits):
        return []
    reason = _explain([objects[index] for index in misfits[:EXPLAINED]])
    count = f'{plural(len(misfits), "annotation")} of {len(objects)} looked at'
    listed = '; '.join(
        _describe(objects[index], corners[index], masks[index]) for index in misfits[:2]
    )
    message = (
        f'{file}: segmentation does not fit bbox in {count} ({listed}). {reason or UNEXPLAINED}'
    )
    apart = (_overlaps(masks, corners) < 0.5).mean()
    are_most = len(misfits) > 0.5 * len(objects) and len(objects) >= FEWEST_BOXES
    is_systematic = are_most and (reason is not None or apart > 0.5)
    return [error(message) if is_systematic else warning(message)]


def _masked_objects(content: dict, complete: bool) -> Iterator[MaskedObject]:
    ids, annotations = Ids(content), content['annotations']
    limit = len(annotations) if complete else MASKS
    for index in spread_evenly(len(annotations), limit):
        annotation = annotations[index]
        image, box = ids.find_image(annotation), annotation.get('bbox')
        if image is None:
            continue
        size = (image['width'], image['height'])
        if box_defect(box, *size) not in (None, BOX_CROSSES):
            continue
        mask = usable_mask(annotation.get('segmentation'), *size)
        if mask is None:
            continue
        name = f'id {annotation.get("id")} on {image["file_name"]}'
        yield MaskedObject(name, box, mask, size)


def _mask_extents(objects: Sequence[MaskedObject]) -> np.ndarray:
    """Return x1, y1, x2, y2 (N, 4) of the masks, clipped to the images."""
    return np.array([mask_extent(item.segmentation, *item.size) for item in objects], float)


def _clipped_corners(objects: Sequence[MaskedObject]) -> np.ndarray:
    """Return x1, y1, x2, y2 (N, 4) of the boxes, clipped to the images."""
    boxes = np.array([item.box for item in objects], float)
    sizes = np.array([item.size * 2 for item in objects], float)
    return np.clip(np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1), 0, sizes)


def _fits(masks: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Tell which masks (N, 4) lie where their boxes (N, 4) are, both x1, y1, x2, y2."""
    sides = (corners[:, 2:] - corners[:, :2]).clip(0)
    tolerance = np.maximum(TOLERANCE, RELATIVE_TOLERANCE * np.tile(sides, 2))
    return (np.abs(masks - corners) <= tolerance).all(1)


def _overlaps(masks: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the IoU (N,) of the extents of masks and their boxes, both x1, y1, x2, y2."""
    mask_starts, mask_ends = np.hsplit(masks, 2)
    box_starts, box_ends = np.hsplit(corners, 2)
    common_starts = np.maximum(mask_starts, box_starts)
    common_ends = np.minimum(mask_ends, box_ends)
    common = _areas(common_starts, common_ends)
    union = _areas(mask_starts, mask_ends) + _areas(box_starts, box_ends) - common
    return common / union.clip(1e-9)


def _areas(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the areas (N,) of boxes from starts (N, 2) to ends (N, 2); 0 where an end comes first."""
    areas: np.ndarray = (ends - starts).clip(0).prod(1)
    return areas


def _explain(misfits: Sequence[MaskedObject]) -> str | None:
    """Return the reason that explains more than half of the misfits, with its remedy."""
    for reason, is_explained in _try_reasons(misfits):
        if is_explained.mean() > 0.5:
            return reason
    return None


def _try_reasons(misfits: Sequence[MaskedObject]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield reasons and which of the misfits (N,) they explain."""
    masks, corners = _mask_extents(misfits), _clipped_corners(misfits)
    boxes = np.array([item.box for item in misfits], float)
    yield 'bbox is x1, y1, x2, y2: write x, y, width, height.', _fits(masks, boxes)

    exchanged = np.array(
        [exchanged_extent(item.segmentation, *item.size) for item in misfits], float
    )
    yield EXCHANGED, _fits(exchanged, corners)

    mask_starts = np.tile(masks[:, :2], 2)
    box_starts = np.tile(corners[:, :2], 2)
    yield SHIFTED, _fits(masks - mask_starts, corners - box_starts)

    ratios = masks[:, 2:] / corners[:, 2:].clip(1)
    scale_x, scale_y = np.median(ratios, 0).tolist()
    scaled = corners * (scale_x, scale_y, scale_x, scale_y)
    reason = SCALED.format(f'{scale_x:.3g} and {scale_y:.3g}')
    yield reason, _fits(masks, scaled)


def _describe(item: MaskedObject, corners: np.ndarray, mask: np.ndarray) -> str:
    """Say where box and mask (4,) of an object are."""
    box_text = _join_numbers(corners)
    mask_text = _join_numbers(mask)
    return f'{item.name}: x1, y1, x2, y2 are {box_text} by bbox and {mask_text} by its mask'


def _join_numbers(values: np.ndarray) -> str:
    return ', '.join(f'{value:g}' for value in values.round(1))
