"""Detected instances of images, as the metrics of average precision keep them: masks are run lengths."""

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
