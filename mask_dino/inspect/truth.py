"""The annotated objects of one image, of a data set of MMDetection or MMSegmentation."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..boxes import masks_to_boxes
from ..postprocess import ImageSizes
from ..postprocess.resize import scale_boxes
from ..structures import Targets
from .images import InspectionError


class Truth(NamedTuple):
    """N annotated objects in the original image: things first, then one segment for each class of stuff."""

    labels: np.ndarray  # (N,) int64
    boxes: np.ndarray  # (N, 4) float32, x1, y1, x2, y2 in pixels
    masks: np.ndarray  # (N, H, W) bool


class Labels(NamedTuple):
    """How the labels of a model are divided: things come first."""

    num_things: int
    num_classes: int


def read_truth(sample: BaseDataElement, labels: Labels) -> Truth:
    """Return the annotated objects of a data sample, as the pipeline of a test returns it.

    It does not matter whether the pipeline loads the annotations before or after it resizes the image.

    Args:
        sample: Of mmdet or mmseg, with ``ori_shape``.

    Raises:
        InspectionError: If the sample has no mask.
    """
    size = tuple(sample.ori_shape[:2])
    parts = []
    if 'gt_instances' in sample and 'masks' in sample.gt_instances:
        parts.append(_read_things(sample, size))
    if 'gt_sem_seg' in sample and labels.num_classes > labels.num_things:
        parts.append(_read_stuff(sample, size, labels))
    if not parts:
        raise InspectionError(
            f'{sample.get("img_path", "the image")} has no masks in its annotation: the pipeline of '
            'test_dataloader.dataset must load them, for example with LoadAnnotations(with_mask=True)'
        )
    fields = [np.concatenate(field) for field in zip(*parts, strict=True)]  # things, then stuff
    return Truth(*fields)


def _read_things(sample: BaseDataElement, size: tuple[int, int]) -> Truth:
    instances = sample.gt_instances
    masks = instances.masks.to_tensor(torch.bool, 'cpu')
    boxes = get_box_tensor(instances.bboxes).float().cpu()
    height, width = instances.masks.height, instances.masks.width
    scale = boxes.new_tensor([size[1] / width, size[0] / height] * 2)
    masks = resize_masks(masks, size)
    boxes = boxes * scale
    labels = instances.labels.cpu()
    return Truth(labels.numpy(), boxes.numpy(), masks.numpy())


def _read_stuff(sample: BaseDataElement, size: tuple[int, int], labels: Labels) -> Truth:
    [classes] = [value[0] for value in sample.gt_sem_seg.values()]  # (H, W)
    classes = classes.cpu()
    present = classes.unique().long()
    present = present[(present >= labels.num_things) & (present < labels.num_classes)]
    masks = resize_masks(classes == present[:, None, None], size)
    boxes = masks_to_boxes(masks)
    return Truth(present.numpy(), _to_corners(boxes, size).numpy(), masks.numpy())


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks (N, h, w) bool at another size (H, W), by the nearest pixel."""
    if tuple(masks.shape[1:]) == size or not len(masks):
        return masks if len(masks) else masks.new_zeros(0, *size)
    return F.interpolate(masks[:, None].float(), size, mode='nearest')[:, 0] > 0.5


def _to_corners(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring boxes (N, 4) cxcywh in [0, 1] to corners in pixels of an image of ``size``."""
    center, extent = boxes.split(2, -1)
    corners = torch.cat((center - extent / 2, center + extent / 2), -1)
    return corners * boxes.new_tensor([size[1], size[0]] * 2)


def to_targets(truth: Truth, sizes: ImageSizes, device: torch.device) -> Targets:
    """Return the objects as the matcher takes them: in the padded input of the network."""
    masks = resize_masks(torch.from_numpy(truth.masks), sizes.resized)
    bottom = sizes.padded[0] - sizes.resized[0]
    right = sizes.padded[1] - sizes.resized[1]
    masks = F.pad(masks, (0, right, 0, bottom))
    corners = torch.from_numpy(truth.boxes).float()
    whole_input = corners.new_tensor([[0.5, 0.5, 1.0, 1.0]])
    extent = scale_boxes(whole_input, sizes)[0, 2:]  # in pixels of the original image
    start, end = corners.split(2, -1)
    center = (start + end) / 2
    size = end - start
    boxes = torch.cat((center / extent, size / extent), -1)
    labels = torch.from_numpy(truth.labels).long()
    return Targets(labels.to(device), boxes.to(device), masks.to(device))


def compare_masks(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the intersection over union (N,) of pairs of masks (N, H, W) bool; of two empty ones it is 0."""
    intersection = (masks & truth).sum((1, 2))
    union = (masks | truth).sum((1, 2))
    return intersection / np.maximum(union, 1)


def compare_boxes(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the intersection over union (N,) of pairs of boxes (N, 4) x1, y1, x2, y2."""
    start, end = np.split(boxes, 2, axis=-1)
    true_start, true_end = np.split(truth, 2, axis=-1)
    shared_start = np.maximum(start, true_start)
    shared_end = np.minimum(end, true_end)
    intersection = _area(shared_start, shared_end)
    total = _area(start, end) + _area(true_start, true_end)
    union = np.maximum(total - intersection, 1e-6)
    return intersection / union


def _area(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    width_height = (end - start).clip(min=0)
    area: np.ndarray = width_height.prod(-1)
    return area
