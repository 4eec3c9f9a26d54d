"""Square crops of the objects of a detector's data set, and of what is no object."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures.bbox import get_box_tensor
from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.utils.data import Dataset

CLEARANCE = 0.5
"""Half of the side around the centre of a crop of the background that no object may touch, in sides of the crop."""
ATTEMPTS = 5
"""Places that are tried for one crop of the background."""
SMALLEST_SIDE = 2.0
"""Pixels of the longer side of an object; smaller ones show nothing."""


class ImageObjects(NamedTuple):
    """The objects of one image."""

    image: np.ndarray  # (H, W, 3) uint8
    boxes: np.ndarray  # (N, 4) float: xyxy in pixels of the image
    labels: np.ndarray  # (N,) int


class Crops(NamedTuple):
    """Square crops, N of them, with their classes."""

    images: Tensor  # (N, 3, S, S) uint8
    labels: Tensor  # (N,) int64; the number of classes stands for the background


@DATASETS.register_module()
class ObjectCrops(Dataset):
    """The objects of each image of another data set, each in the middle of a square crop.

    The pipeline of that data set decides on the scale of the objects. In training, a random factor changes it.
    An object that is larger than the crop is shrunk to fit.

    Args:
        dataset: Config of a data set of MMDetection with boxes and labels.
        num_classes: Classes of objects; labels from here on are left out.
        size: Side S of the crops in pixels.
        scales: Smallest and largest factor between the size of an object in the image and in its crop.
        max_objects: Most objects of an image in one step; which ones is random. A batch of a few objects of many images
            teaches more than a batch of all objects of a few images.
        fill: Value of the pixels outside of the image, in its order of channels.
        is_test: Whether to take all objects at their size, without a random number.
    """

    def __init__(
        self,
        dataset: dict,
        num_classes: int,
        size: int,
        scales: tuple[float, float] = (1.0, 1.0),
        max_objects: int = 2,
        fill: Sequence[float] = (0, 0, 0),
        is_test: bool = False,
    ) -> None:
        self.dataset = DATASETS.build(dataset)
        self.metainfo = self.dataset.metainfo
        self.num_classes = num_classes
        self.size = size
        self.scales = scales
        self.max_objects = max_objects
        self.fill = tuple(fill)
        self.is_test = is_test

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Crops:
        """Return the crops of one image, (0, 3, S, S) if it has no objects."""
        objects = self.read_objects(index)
        crops, labels = self.crop_objects(objects)
        if not self.is_test:
            background = self.crop_background(objects)
            crops += background
            labels += [self.num_classes] * len(background)
        images = np.array(crops, np.uint8).reshape(-1, self.size, self.size, 3)
        channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return Crops(torch.from_numpy(channels_first), torch.tensor(labels, dtype=torch.int64))

    def read_objects(self, index: int) -> ImageObjects:
        """Return the objects of one image as the pipeline leaves them."""
        sample = self.dataset[index]
        image = sample['inputs'].permute(1, 2, 0).numpy()
        if self.is_test:
            scale_factor = sample['data_samples'].metainfo.get('scale_factor', (1.0, 1.0))
            boxes, labels = self.read_annotations(index, scale_factor)
        else:
            instances = sample['data_samples'].gt_instances
            boxes = get_box_tensor(instances.bboxes).numpy()
            labels = instances.labels.numpy()
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
        is_usable = (sides >= SMALLEST_SIDE) & (labels < self.num_classes)
        return ImageObjects(np.ascontiguousarray(image), boxes[is_usable], labels[is_usable])

    def read_annotations(
        self, index: int, scale_factor: tuple[float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes and labels of a test image; test pipelines often leave boxes at their original size."""
        boxes: list[list[float]] = []
        labels: list[int] = []
        for instance in self.dataset.get_data_info(index)['instances']:
            if not instance.get('ignore_flag'):
                boxes.append(instance['bbox'])
                labels.append(instance['bbox_label'])
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        return corners * np.tile(scale_factor, 2), np.array(labels, np.int64)

    def crop_objects(self, objects: ImageObjects) -> tuple[list[np.ndarray], list[int]]:
        """Return the crops (S, S, 3) of objects, and their labels."""
        order = np.arange(len(objects.labels))
        if not self.is_test:
            order = np.random.permutation(order)[: self.max_objects]
        crops = []
        for box in objects.boxes[order]:
            side = (box[2:] - box[:2]).max()
            scale = min(self.draw_scale(), self.size / side)
            center = (box[:2] + box[2:]) / 2
            crops.append(crop_square(objects.image, center, scale, self.size, self.fill))
        return crops, objects.labels[order].tolist()

    def crop_background(self, objects: ImageObjects) -> list[np.ndarray]:
        """Return one crop (S, S, 3) whose middle shows no object, as often as there are objects of one class."""
        num_objects = min(max(len(objects.labels), 1), self.max_objects)
        if np.random.rand() >= num_objects / self.num_classes:
            return []
        height, width = objects.image.shape[:2]
        scale = self.draw_scale()
        reach = CLEARANCE * self.size / scale / 2
        for _ in range(ATTEMPTS):
            center = np.random.rand(2) * (width, height)
            low, high = center - reach, center + reach
            touches = (objects.boxes[:, :2] < high) & (objects.boxes[:, 2:] > low)  # (N, 2)
            if not touches.all(1).any():
                return [crop_square(objects.image, center, scale, self.size, self.fill)]
        return []

    def draw_scale(self) -> float:
        """Return a random factor; its logarithm is uniform."""
        if self.is_test:
            return 1.0
        low, high = np.log(self.scales)
        exponent = np.random.uniform(low, high)
        return float(np.exp(exponent))


def crop_square(
    image: np.ndarray, center: np.ndarray, scale: float, size: int, fill: Sequence[float]
) -> np.ndarray:
    """Return a square (S, S, 3) around a point (x, y) of an image (H, W, 3) that is enlarged by ``scale``."""
    if scale < 0.5:  # or a bilinear interpolation would leave pixels out
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        center, scale = center * scale, 1.0
    # Boxes have continuous coordinates; in coordinates of pixels, the centres of pixels are whole numbers.
    shift = size / 2 - 0.5 - scale * (center - 0.5)
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=fill)


@FUNCTIONS.register_module()
def collate_crops(images: Sequence[Crops]) -> dict[str, Any]:
    """Join the crops of several images to one batch, in the form of mmengine."""
    crops = torch.cat([image.images for image in images])
    labels = torch.cat([image.labels for image in images])
    return dict(inputs=crops, data_samples=labels)
