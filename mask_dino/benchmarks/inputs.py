"""Generate batches for any model of mmdet or mmseg: images of noise, with ellipses as objects."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData


class Load(NamedTuple):
    """The size of the input of a step."""

    height: int
    width: int
    objects: int  # per image
    batch: int  # images

    def __str__(self) -> str:
        return f'{self.height} x {self.width}, {self.objects} objects, batch {self.batch}'


class ClassCounts(NamedTuple):
    """Numbers of classes; labels of things come first."""

    things: int
    stuff: int

    @classmethod
    def from_config(cls, model: ConfigDict) -> 'ClassCounts':
        """Read the numbers from the config of a model; they can be anywhere in it."""
        names = ('num_things_classes', 'num_stuff_classes', 'num_classes')
        numbers: dict[str, int] = {}
        for name, value in _settings(model):
            if name in names and isinstance(value, int):
                numbers.setdefault(name, value)
        if 'num_things_classes' in numbers:
            things = numbers['num_things_classes']
            stuff = numbers.get('num_stuff_classes', 0)
            return cls(things, stuff)
        return cls(numbers.get('num_classes', 1), 0)


def detection_batch(load: Load, classes: ClassCounts, seed: int) -> dict:
    """Return a batch as mmdet's data loader does: images, objects with boxes and masks, and stuff in the background."""
    rng = np.random.default_rng(seed)
    samples = [_detection_sample(load, classes, rng) for _ in range(load.batch)]
    return dict(inputs=_images(load, rng), data_samples=samples)


def _detection_sample(load: Load, classes: ClassCounts, rng: np.random.Generator) -> DetDataSample:
    masks, boxes = ellipses(load, rng)
    labels = rng.integers(max(1, classes.things), size=load.objects)
    truth = InstanceData(bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels))
    truth.masks = BitmapMasks(masks, load.height, load.width)
    sample = DetDataSample(metainfo=_sizes(load), gt_instances=truth)
    if classes.stuff:
        pixels = _painted(background(load, classes, rng), masks, labels)
        sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(pixels)[None])
    return sample


def segmentation_batch(load: Load, classes: ClassCounts, seed: int) -> dict:
    """Return a batch as mmseg's data loader does: images, and maps with one region for every object."""
    from mmseg.structures import SegDataSample  # only imported if mmseg is used

    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(load.batch):
        masks, _ = ellipses(load, rng)
        empty = np.zeros((load.height, load.width), np.int64)
        labels = rng.integers(sum(classes), size=load.objects)
        pixels = _painted(empty, masks, labels)
        label_map = PixelData(data=torch.from_numpy(pixels)[None])
        samples.append(SegDataSample(metainfo=_sizes(load), gt_sem_seg=label_map))
    return dict(inputs=_images(load, rng), data_samples=samples)


def ellipses(load: Load, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return ellipses of a tenth to a third of the image: masks (N, H, W) uint8 and boxes (N, 4) xyxy in pixels."""
    size = rng.uniform(0.1, 0.35, size=(load.objects, 2))
    center = rng.uniform(size / 2, 1 - size / 2)
    masks = _fill_ellipses(load, center, size)
    image_size = np.array([load.width, load.height])
    low = center - size / 2
    high = center + size / 2
    corners = (low * image_size, high * image_size)
    boxes = np.concatenate(corners, 1)
    return masks, boxes.astype(np.float32)


def _fill_ellipses(load: Load, center: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return masks (N, H, W) of ellipses; centers and sizes (N, 2) are fractions of the image, x before y."""
    columns = np.arange(load.width)
    rows = np.arange(load.height)[:, None]
    x = (columns + 0.5) / load.width  # (W,)
    y = (rows + 0.5) / load.height  # (H, 1)
    center_x, center_y = center.T[..., None, None]  # (N, 1, 1) each
    semi_x, semi_y = size.T[..., None, None] / 2
    # The equation of an ellipse: (x / a)^2 + (y / b)^2 < 1.
    from_x = (x - center_x) / semi_x  # (N, 1, W)
    from_y = (y - center_y) / semi_y  # (N, H, 1)
    inside = from_x**2 + from_y**2 < 1
    return inside.astype(np.uint8)


def background(load: Load, classes: ClassCounts, rng: np.random.Generator) -> np.ndarray:
    """Return a map (H, W) int64 of up to four bands of stuff."""
    labels = classes.things + rng.permutation(classes.stuff)[:4]
    rows = labels[np.arange(load.height) * len(labels) // load.height]
    return np.repeat(rows[:, None], load.width, 1)


def _painted(pixels: np.ndarray, masks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    for mask, label in zip(masks, labels, strict=True):
        pixels[mask > 0] = label
    return pixels


def _images(load: Load, rng: np.random.Generator) -> list[torch.Tensor]:
    shape = (load.batch, 3, load.height, load.width)
    return list(torch.from_numpy(rng.integers(256, size=shape, dtype=np.uint8)))


def _sizes(load: Load) -> dict:
    size = (load.height, load.width)
    return dict(
        img_shape=size,
        ori_shape=size,
        pad_shape=size,
        batch_input_shape=size,
        scale_factor=(1.0, 1.0),
        img_id=0,
    )


def _settings(config: object) -> Iterator[tuple[str, object]]:
    if isinstance(config, dict):
        for name, value in config.items():
            yield name, value
            yield from _settings(value)
