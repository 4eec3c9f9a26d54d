"""What a model found in an image, read from its data sample, and refused where no figure could be trusted."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.structures.mask import encode_mask_results
from pycocotools import mask as coco_masks

from ..messages import DataError
from ..postprocess import check_finite
from .average_precision import Detections
from .instances import AnnotatedImage, name_image


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


FIELDS = ('scores', 'bboxes', 'mask_scores', 'masks')
"""Fields of results that must be finite."""


def read_result(
    sample: Mapping[str, Any], classes: Sequence[str], image: AnnotatedImage
) -> ImageResult:
    """Return the detections in a data sample.

    Args:
        image: The image as its annotations describe it.

    Raises:
        DataError: If a label belongs to no class, or masks are no masks of this image.
        PredictionError: If a score, a box or a mask is NaN or infinite.
    """
    predicted, name = sample['pred_instances'], name_image(sample)
    tensors = {field: predicted[field] for field in FIELDS if field in predicted}
    tensors = {field: value for field, value in tensors.items() if torch.is_tensor(value)}
    check_finite(name, {f'pred_instances.{field}': value for field, value in tensors.items()})
    labels = predicted['labels'].cpu().numpy()
    _check_labels(name, labels, classes)
    masks = None
    if 'masks' in predicted:
        masks = _encode_masks(name, predicted['masks'])
        _check_mask_sizes(name, masks, image)
    scores = _to_numpy(predicted['scores'])
    return ImageResult(
        image_id=sample['img_id'],
        labels=labels,
        boxes=_to_numpy(predicted['bboxes']),
        scores=scores,
        mask_scores=_to_numpy(predicted['mask_scores']) if 'mask_scores' in predicted else scores,
        masks=masks,
        truth=None,
    )


def _check_labels(name: str, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Refuse labels (N,) that belong to no class."""
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if len(outside):
        raise DataError(
            f'A result of {name} has the label {outside[0]}, but metainfo.classes has {len(classes)} names. '
            'Give the model and the data set the same classes.'
        )


def _to_numpy(values: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array; numpy has no bfloat16."""
    array: np.ndarray = (values.float() if values.dtype is torch.bfloat16 else values).cpu().numpy()
    return array


def _encode_masks(name: str, masks: torch.Tensor | list[dict]) -> list[dict]:
    """Return masks (N, H, W) as run lengths, which other tools may have computed."""
    if not isinstance(masks, torch.Tensor):
        return masks
    if masks.is_floating_point() and not ((masks == 0) | (masks == 1)).all():
        raise DataError(
            f'The masks of {name} have other values than 0 and 1: they are scores. Compare them with a threshold, '
            'and return masks of type bool.'
        )
    codes: list[dict] = encode_mask_results(masks.detach().bool().cpu().numpy())
    return codes


def _check_mask_sizes(name: str, masks: Sequence[dict], image: AnnotatedImage) -> None:
    """Refuse masks of another size than their image: pycocotools would take them for masks that overlap nothing."""
    sizes = {tuple(code['size']) for code in masks}
    others = sorted(sizes - {(image.height, image.width)})
    if others:
        raise DataError(
            f'The predicted masks of {name} have the height and width {others[0]}, but its annotations have '
            f'{(image.height, image.width)}. Correct height and width in the annotations, or predict with rescale=True.'
        )
