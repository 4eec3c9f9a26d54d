"""The figures of average precision and recall: their names, as mmdet gives them, and their values."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..messages import format_table
from .average_precision import AREAS, Curves

ITEM = re.compile(
    r'(?P<kind>mAP|AR)(_(?P<threshold>[0-9]{2})|_(?P<area>[sml]))?(@(?P<limit>[0-9]+))?'
)


class Item(NamedTuple):
    """What a figure is the average of."""

    name: str
    is_recall: bool
    threshold: float | None  # the IoU; None for the average over all
    area: str  # a key of AREAS
    limit: int  # detections per image and class


def parse_items(names: Iterable[str], numbers: Sequence[int], thresholds: np.ndarray) -> list[Item]:
    """Return what the names of figures stand for.

    Args:
        names: Such as ``mAP``, ``mAP_50``, ``mAP_s``, ``AR@100`` or ``AR_s@1000``.
        numbers: Detections per image and class that are evaluated. AP uses the largest.
        thresholds: IoUs (T,) that are evaluated.

    Raises:
        ValueError: If there is no such figure.
    """
    return [_parse_item(name, max(numbers), thresholds) for name in names]


def _parse_item(name: str, most: int, thresholds: np.ndarray) -> Item:
    parts = ITEM.fullmatch(name)
    is_recall = name.startswith('AR')
    if parts is None or is_recall != bool(parts['limit']):
        raise ValueError(
            f'metric_items: there is no figure called {name!r}. Choose from mAP, mAP_50, mAP_75, mAP_s, mAP_m, mAP_l, '
            f'AR@{most}, AR_s@{most}, AR_m@{most}, AR_l@{most}.'
        )
    threshold = int(parts['threshold']) / 100 if parts['threshold'] else None
    if threshold is not None and not np.isclose(thresholds, threshold).any():
        raise ValueError(
            f'metric_items: {name} needs {threshold} in iou_thrs. Add it there, or leave {name} out.'
        )
    limit = int(parts['limit'] or most)
    if not 0 < limit <= most:
        raise ValueError(
            f'metric_items: {name} is beyond proposal_nums, which end at {most}. Add {limit} there.'
        )
    area = parts['area'] or ''
    return Item(name, is_recall, threshold, area, limit)


def default_items(is_proposal: bool, numbers: Sequence[int], thresholds: np.ndarray) -> list[Item]:
    """Return the figures of mmdet: AR for proposals, else AP, of the IoUs in ``thresholds`` (T,)."""
    most = max(numbers)
    names = [f'AR@{limit}' for limit in numbers] + [f'AR_{area}@{most}' for area in 'sml']
    if not is_proposal:
        evaluated = [
            f'mAP_{percent}' for percent in (50, 75) if np.isclose(thresholds, percent / 100).any()
        ]
        names = ['mAP', *evaluated, 'mAP_s', 'mAP_m', 'mAP_l']
    return parse_items(names, numbers, thresholds)


def compute_figure(
    curves: Curves, item: Item, limits: Sequence[int], thresholds: np.ndarray
) -> float:
    """Return the average over classes, ``thresholds`` (T,) and recalls; NaN if there is no object."""
    area = list(AREAS).index(item.area)
    values = curves.recall if item.is_recall else curves.precision
    values = values[..., area, limits.index(item.limit)]
    if item.threshold is not None:
        values = values[np.isclose(thresholds, item.threshold)]
    return _average(values)


def _average(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else float('nan')


class ClassFigures(NamedTuple):
    """AP of every class."""

    figures: dict[str, float]  # by ``CLASS_precision``
    table: str


def class_figures(
    precision: np.ndarray, classes: Sequence[str], thresholds: np.ndarray
) -> ClassFigures:
    """Return AP of every class from precision (T, 101, C, A)."""
    averages = {'mAP': precision[..., 0]}
    for percent in (50, 75):
        chosen = np.isclose(thresholds, percent / 100)
        if chosen.any():
            averages[f'mAP_{percent}'] = precision[chosen][..., 0]
    for area, name in enumerate(AREAS):
        if name:
            averages[f'mAP_{name}'] = precision[..., area]
    figures = {}
    rows = []
    for label, name in enumerate(classes):
        of_class = [average[:, :, label] for average in averages.values()]
        values = [round(_average(part), 3) for part in of_class]
        if not np.isnan(values[0]):
            figures[f'{name}_precision'] = values[0]
        rows.append([name, *(f'{value:.3f}' for value in values)])
    table = format_table(['category', *averages], rows)
    return ClassFigures(figures, table)


def check_numbers(proposal_nums: int | Sequence[int]) -> list[int]:
    """Return numbers of detections as a list.

    Raises:
        ValueError: A number is not whole, or less than 1.
    """
    numbers = [proposal_nums] if isinstance(proposal_nums, int) else list(proposal_nums)
    if not numbers or not all(isinstance(number, int) and number > 0 for number in numbers):
        raise ValueError(f'proposal_nums={proposal_nums!r}: give whole numbers of 1 or more')
    return numbers


def check_thresholds(iou_thrs: float | Sequence[float] | None) -> np.ndarray | None:
    """Return IoU thresholds (T,); None stands for COCO's thresholds.

    Raises:
        ValueError: A threshold is not within 0 and 1.
    """
    if iou_thrs is None:
        return None
    thresholds = np.atleast_1d(np.array(iou_thrs, np.float64))
    if not thresholds.size or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise ValueError(f'iou_thrs={iou_thrs!r}: give IoUs above 0 and up to 1, as in [0.5]')
    return thresholds
