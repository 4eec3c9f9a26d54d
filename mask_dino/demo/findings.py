"""What a model found in an image, kept small between the requests of a visitor, as a table and as COCO JSON."""

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from ..runtime import Result
from ..runtime.postprocess import INSTANCE_OFFSET
from .uploads import Upload

HEADERS = ('What', 'Score', 'Box (x, y, width, height)', 'Share of the image')
LOWEST_SCORE = 0.05
"""Instances below it are not kept: the threshold of the page starts here."""


class View(Enum):
    """What the page shows; the values are the words on it."""

    INSTANCES = 'Instances'
    PANOPTIC = 'Panoptic'
    SEMANTIC = 'Semantic'
    LAYERS = 'Layers'


class Findings(NamedTuple):
    """All results of an image. The masks are compressed, and only :meth:`above` makes them again."""

    upload: Upload
    result: Result  # without masks
    codes: tuple[dict[str, Any], ...] | None  # run lengths of the masks, as pycocotools makes them

    def above(self, threshold: float) -> Result:
        """Return the result with the instances, and their masks, whose score is not below a threshold."""
        result = self.result
        if result.scores is None or result.boxes is None or result.labels is None:
            return result
        shown = np.flatnonzero(result.scores >= threshold)
        masks = None
        if self.codes is not None:
            height, width = result.image.shape[:2]
            masks = np.zeros((len(shown), height, width), bool)
            for mask, index in zip(masks, shown, strict=True):
                mask[:] = coco_mask.decode(self.codes[index])
        return replace(
            result,
            boxes=result.boxes[shown],
            labels=result.labels[shown],
            scores=result.scores[shown],
            masks=masks,
        )


class FoundObject(NamedTuple):
    """A thing or an area of stuff, in pixels of the uploaded image."""

    label: int
    name: str
    score: float | None  # areas of maps have none
    box: tuple[float, float, float, float]  # x, y, width, height
    area: float
    code: dict[str, Any] | None  # run lengths of its mask; None where the model has no masks


def keep_findings(upload: Upload, result: Result) -> Findings:
    """Compress the masks of a result, and drop the instances with the lowest scores."""
    if result.scores is None or result.boxes is None or result.labels is None:
        return Findings(upload, result, None)
    shown = np.flatnonzero(result.scores >= LOWEST_SCORE)
    codes = None
    if result.masks is not None:
        codes = tuple(_encode(result.masks[index]) for index in shown)
    small = replace(
        result,
        boxes=result.boxes[shown],
        labels=result.labels[shown],
        scores=result.scores[shown],
        masks=None,
    )
    return Findings(upload, small, codes)


def available_views(result: Result) -> tuple[View, ...]:
    """Return what a result holds. The layers belong to the model and are not part of a result."""
    parts = {
        View.INSTANCES: result.boxes,
        View.PANOPTIC: result.panoptic,
        View.SEMANTIC: result.semantic,
    }
    return tuple(view for view, part in parts.items() if part is not None)


def list_objects(findings: Findings, view: View, threshold: float) -> list[FoundObject]:
    """Return what a view shows: instances by falling score, or areas of a map by falling area."""
    result = findings.above(threshold)
    if view is View.PANOPTIC and result.panoptic is not None:
        return _list_areas(findings, result.panoptic)
    if view is View.SEMANTIC and result.semantic is not None:
        return _list_areas(findings, result.semantic)
    return _list_instances(findings, result)


def make_table(objects: Sequence[FoundObject], upload: Upload) -> tuple[tuple[str, ...], ...]:
    """Return the rows below :data:`HEADERS`."""
    height, width = upload.original_size
    rows: list[tuple[str, ...]] = []
    for item in objects:
        score = '' if item.score is None else f'{item.score:.2f}'
        box = ', '.join(f'{value:.0f}' for value in item.box)
        rows.append((item.name, score, box, f'{item.area / (height * width):.1%}'))
    return tuple(rows)


def make_coco(
    objects: Sequence[FoundObject], upload: Upload, classes: Sequence[str]
) -> dict[str, Any]:
    """Return a data set in COCO's format with one image, which pycocotools loads; masks are run lengths."""
    height, width = upload.original_size
    image = dict(id=1, file_name=upload.name, height=height, width=width)
    categories = [dict(id=index, name=name) for index, name in enumerate(classes, start=1)]
    annotations = [_annotate(number, item) for number, item in enumerate(objects, start=1)]
    return dict(
        info=dict(description='Results of Mask DINO'),
        images=[image],
        categories=categories,
        annotations=annotations,
    )


def _annotate(number: int, item: FoundObject) -> dict[str, Any]:
    annotation: dict[str, Any] = dict(
        id=number,
        image_id=1,
        category_id=item.label + 1,
        bbox=[round(value, 2) for value in item.box],
        area=item.area,
        iscrowd=0,
    )
    if item.score is not None:
        annotation['score'] = round(item.score, 4)
    if item.code is not None:
        counts = item.code['counts'].decode('ascii')
        annotation['segmentation'] = dict(size=list(item.code['size']), counts=counts)
    return annotation


def _list_instances(findings: Findings, result: Result) -> list[FoundObject]:
    if result.scores is None or result.boxes is None or result.labels is None:
        return []
    objects = []
    for index in np.argsort(-result.scores, kind='stable'):
        label = int(result.labels[index])
        box = _measure_box(result.boxes[index], findings.upload)
        area = box[2] * box[3]
        code = None
        if result.masks is not None:
            code = _encode_original(result.masks[index], findings.upload)
            area = float(coco_mask.area(code))
        score = float(result.scores[index])
        objects.append(FoundObject(label, result.classes[label], score, box, area, code))
    return objects


def _list_areas(findings: Findings, ids: np.ndarray) -> list[FoundObject]:
    classes = findings.result.classes
    objects = []
    for segment in np.unique(ids).tolist():
        label = segment % INSTANCE_OFFSET
        if label >= len(classes):
            continue  # pixels of no segment
        number = segment // INSTANCE_OFFSET
        name = f'{classes[label]} {number}' if number else classes[label]
        code = _encode_original(ids == segment, findings.upload)
        x, y, width, height = coco_mask.toBbox(code).tolist()
        area = float(coco_mask.area(code))
        objects.append(FoundObject(label, name, None, (x, y, width, height), area, code))
    return sorted(objects, key=lambda item: -item.area)


def _encode(mask: np.ndarray) -> dict[str, Any]:
    code: dict[str, Any] = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return code


def _encode_original(mask: np.ndarray, upload: Upload) -> dict[str, Any]:
    """Return the run lengths of a mask (H, W) at the size of the uploaded image."""
    height, width = upload.original_size
    if mask.shape != (height, width):
        rows = np.arange(height) * mask.shape[0] // height
        columns = np.arange(width) * mask.shape[1] // width
        mask = mask[rows][:, columns]
    return _encode(mask)


def _measure_box(corners: np.ndarray, upload: Upload) -> tuple[float, float, float, float]:
    """Return x, y, width and height in the uploaded image of a box x1, y1, x2, y2 in the reduced one."""
    height, width = upload.pixels.shape[:2]
    original_height, original_width = upload.original_size
    limits = np.array([width, height] * 2)
    scales = np.array([original_width, original_height] * 2) / limits
    finite = np.nan_to_num(corners.astype(np.float64))
    inside = finite.clip(0, limits)
    x1, y1, x2, y2 = (inside * scales).tolist()
    return x1, y1, x2 - x1, y2 - y1
