"""Masks of things without pixels far from their boxes, boxes that agree with masks, and objects found only once.

After a short training, masks have stray pixels, boxes are less exact than masks, and some objects are found twice.
"""

import torch
from mmcv.ops import batched_nms
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from torch import Tensor

from ..boxes import masks_to_boxes
from ..ops.stray_pixels import remove_stray_pixels
from ..structures import QueryPredictions

MIN_IOU = 0.5
"""IoU of a predicted box and the box of the mask from which on both are taken to be of the same object."""


def clean_things(predictions: QueryPredictions, num_things: int, window: float) -> QueryPredictions:
    """Return predictions whose masks of things have no pixels far from their boxes: those logits change their sign.

    Args:
        predictions: Of a batch.
        num_things: Queries whose best class is below it are things.
        window: See :func:`~mask_dino.ops.stray_pixels.remove_stray_pixels`.
    """
    logits, boxes, masks = predictions
    is_inside = masks > 0  # (B, Q, h, w)
    is_near = remove_stray_pixels(is_inside, boxes, window)
    is_thing = logits.argmax(-1) < num_things  # (B, Q)
    is_stray = is_inside & ~is_near & is_thing[..., None, None]
    return predictions._replace(masks=torch.where(is_stray, -masks, masks))


def enclose_masks(masks: Tensor) -> Tensor:
    """Return the boxes (N, 4) xyxy in pixels of masks (N, height, width) bool; zeros for an empty mask."""
    height, width = masks.shape[-2:]
    boxes = bbox_cxcywh_to_xyxy(masks_to_boxes(masks))
    return boxes * boxes.new_tensor([width, height, width, height])


def measure_agreement(boxes: Tensor, enclosing: Tensor) -> Tensor:
    """Return the IoU (N,) of boxes (N, 4) and the boxes of their masks (N, 4), xyxy; 0 for boxes without an area."""
    overlap: Tensor = bbox_overlaps(boxes, enclosing, is_aligned=True)
    return overlap


def average_boxes(boxes: Tensor, enclosing: Tensor) -> Tensor:
    """Return the means (N, 4) of boxes and the boxes of their masks, xyxy; boxes that differ much stay as they are."""
    is_same = measure_agreement(boxes, enclosing) >= MIN_IOU
    means = (boxes + enclosing) / 2
    return torch.where(is_same[:, None], means, boxes)


def find_distinct(boxes: Tensor, scores: Tensor, labels: Tensor, nms_iou: float) -> Tensor:
    """Return the indices (M,) of the instances that no better one of the same class covers, the best first.

    Args:
        boxes: (N, 4) xyxy in pixels.
        scores: (N,).
        labels: (N,).
        nms_iou: IoU of two boxes above which the worse instance is left out, in [0, 1].
    """
    if not len(boxes):
        return labels
    # On the CPU, because mmcv may be built without the compiler of the device. It moves the boxes of each class to a
    # place of their own, which needs coordinates from 0 on.
    boxes_from_zero = (boxes - boxes.min()).cpu()
    options = dict(type='nms', iou_threshold=nms_iou)
    _, kept = batched_nms(boxes_from_zero, scores.cpu(), labels.cpu(), options)
    distinct: Tensor = kept.to(boxes.device)
    return distinct
