"""Masks that lie elsewhere than their boxes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...messages import Finding, error, plural, spread_evenly, warning
from .annotations import BOX_CROSSES, Ids, box_defect
from .box_forms import FEWEST_BOXES, FORMS, from_starts
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
BOX_REASON = 'bbox is {}: write x, y, width, height.'
EXCHANGED = (
    'x and y are exchanged: write bbox as x, y, width, height, polygons as x, y, x, y, ..., and run lengths down the '
    "columns, as of mask.ravel(order='F')."
)
UPSIDE_DOWN = 'y counts from the bottom in one of the two: write y from the top in both.'
SHIFTED = 'Masks and boxes have one size but lie apart: correct the offset of segmentation.'
SCALED = 'Masks are boxes times {} in x and y: write both in pixels of the image.'


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
    sizes = np.array([item.size for item in objects], float)
    return _clip(from_starts(boxes), sizes)


def _clip(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Clip x1, y1, x2, y2 (N, 4) to images of sizes (N, 2)."""
    return corners.clip(0, np.tile(sizes, 2))


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
    sizes = np.array([item.size for item in misfits], float)
    first, *others = [form for form in FORMS if not form.unit]
    yield BOX_REASON.format(first.name), _fits(masks, boxes)

    exchanged = np.array(
        [exchanged_extent(item.segmentation, *item.size) for item in misfits], float
    )
    yield EXCHANGED, _fits(exchanged, corners)

    for form in others:
        yield BOX_REASON.format(form.name), _fits(masks, _clip(form.in_pixels(boxes, sizes), sizes))
    upside_down = np.tile(sizes, 2) - corners
    upside_down[:, [0, 2]] = corners[:, [0, 2]]
    yield UPSIDE_DOWN, _fits(masks, upside_down[:, [0, 3, 2, 1]])

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
