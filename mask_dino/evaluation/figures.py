"""The figures of average precision and recall: their names, as mmdet gives them, and their values."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures.mask import encode_mask_results
from pycocotools import mask as coco_masks

from ..messages import DataError, format_table
from ..postprocess import check_finite
from .average_precision import AREAS, Curves, Detections
from .instances import AnnotatedImage, name_image

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
    return Item(name, is_recall, threshold, parts['area'] or '', limit)


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
        figures[f'{name}_precision'] = values[0]
        rows.append([name, *(f'{value:.3f}' for value in values)])
    table = format_table(['category', *averages], rows)
    return ClassFigures(figures, table)


@dataclass(frozen=True)
class ImageResult:
    """What a model found in one image."""

    image_id: Hashable
    labels: np.ndarray  # (N,) int64
    boxes: np.ndarray  # (N, 4) xyxy in pixels
    scores: np.ndarray  # (N,)
    mask_scores: np.ndarray  # (N,)
    masks: list[dict] | None  # run lengths
    truth: AnnotatedImage | None  # where no annotation file is given

    def detections(self, kind: str) -> Detections:
        """Return boxes (``bbox``) or masks (``segm``) as detections.

        Raises:
            DataError: If there are no masks.
        """
        if kind == 'bbox':
            boxes = self.boxes.astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            return Detections(self.labels, boxes[:, 2] * boxes[:, 3], self.scores, boxes.tolist())
        if self.masks is None:
            raise DataError(
                f"The result of the image with id {self.image_id} has no masks. Evaluate boxes only: metric='bbox'."
            )
        areas = np.array(coco_masks.area(self.masks) if self.masks else [], np.float64)
        return Detections(self.labels, areas, self.mask_scores, self.masks)

    def in_form_of_mmdet(self) -> dict[str, Any]:
        """Return the dictionary from which mmdet writes files of results."""
        fields: dict[str, Any] = dict(img_id=self.image_id, bboxes=self.boxes, labels=self.labels)
        fields.update(scores=self.scores, mask_scores=self.mask_scores)
        if self.masks is not None:
            fields['masks'] = self.masks
        return fields


def read_result(
    sample: Mapping[str, Any], classes: Sequence[str], truth: AnnotatedImage | None
) -> ImageResult:
    """Return the detections in a data sample.

    Raises:
        DataError: If a label belongs to no class.
        PredictionError: If a score or a box is NaN or infinite.
    """
    predicted, image = sample['pred_instances'], name_image(sample)
    fields = [name for name in ('scores', 'bboxes', 'mask_scores') if name in predicted]
    check_finite(image, {f'pred_instances.{name}': predicted[name] for name in fields})
    labels = predicted['labels'].cpu().numpy()
    if len(labels) and labels.max() >= len(classes):
        raise DataError(
            f'A result of {image} has the label {labels.max()}, but metainfo.classes has {len(classes)} names. '
            'Give the model and the data set the same classes.'
        )
    scores = predicted['scores'].cpu().numpy()
    return ImageResult(
        image_id=sample['img_id'],
        labels=labels,
        boxes=predicted['bboxes'].cpu().numpy(),
        scores=scores,
        mask_scores=predicted['mask_scores'].cpu().numpy()
        if 'mask_scores' in predicted
        else scores,
        masks=_encode_masks(predicted['masks']) if 'masks' in predicted else None,
        truth=truth,
    )


def _encode_masks(masks: torch.Tensor | list[dict]) -> list[dict]:
    """Return masks (N, H, W) as run lengths, which other tools may have computed."""
    if not isinstance(masks, torch.Tensor):
        return masks
    codes: list[dict] = encode_mask_results(masks.detach().cpu().numpy())
    return codes
