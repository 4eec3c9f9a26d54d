"""Chooses the image size, the number of steps and the learning rate for a data set."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

SIDES = (128, 192, 256, 320, 384, 512, 640, 768, 896, 1024)
SMALL_CHANNELS = 128
"""Width of a network below which it is a small one, made for CPUs."""


class Scale(NamedTuple):
    """What depends on the size of the network."""

    max_side: int  # pixels
    min_side: int
    object_side: int  # pixels that nearly all objects should have
    batch_size: int
    num_workers: int


SMALL = Scale(max_side=256, min_side=128, object_side=10, batch_size=4, num_workers=2)
LARGE = Scale(max_side=1024, min_side=512, object_side=16, batch_size=2, num_workers=4)


class Measures(NamedTuple):
    """What the sizes of images and objects of the training data are like."""

    num_images: int
    num_objects: int  # 0 if it is unknown, as in label maps
    width: int  # median of the images, pixels
    height: int
    one_shape: bool  # whether nearly all images have the same proportions
    object_side: float  # a tenth of the objects is smaller: root of the area, as a fraction of the longer image side


class Recipe(NamedTuple):
    """The numbers of a training."""

    image_size: tuple[int, int]  # width, height in pixels
    # Side in pixels of the smaller objects at this image size; 0 if it is unknown.
    smallest_object: int
    batch_size: int
    num_workers: int
    max_iters: int
    epochs: int
    warmup: int  # steps
    milestone: int  # step at which the learning rate drops
    interval: int  # steps between two validations
    log_interval: int  # steps between two lines of the log
    lr: float


def measure_coco(content: Mapping[str, Any]) -> Measures:
    """Measure the images and objects of a COCO file, instances or panoptic."""
    images = content['images']
    sizes = np.array([(image['width'], image['height']) for image in images], float)
    longer = {image['id']: max(image['width'], image['height']) for image in images}
    sides = [
        math.sqrt(_find_area(item)) / longer[annotation['image_id']]
        for annotation in content['annotations']
        if annotation['image_id'] in longer
        for item in annotation.get('segments_info', [annotation])
    ]
    sides = [side for side in sides if side > 0]
    smaller = float(np.percentile(sides, 10)) if sides else 0.0
    return measure_sizes(sizes)._replace(num_objects=len(sides), object_side=smaller)


def measure_sizes(sizes: np.ndarray) -> Measures:
    """Measure images of the given widths and heights (N, 2); objects stay unknown."""
    width, height = np.median(sizes, 0)
    ratios = sizes[:, 0] / sizes[:, 1]
    is_usual = np.abs(np.log(ratios * height / width)) < 0.1
    return Measures(
        num_images=len(sizes),
        num_objects=0,
        width=round(width),
        height=round(height),
        one_shape=bool(is_usual.mean() > 0.9),
        object_side=0.0,
    )


def choose_recipe(
    measures: Measures, channels: int, base_lr: float, base_batch_size: int
) -> Recipe:
    """Choose the numbers of a training.

    Args:
        measures: Of the training data.
        channels: Width of the network, ``embed_dims``.
        base_lr: Learning rate of the base config, for batches of ``base_batch_size`` images.
        base_batch_size: As in ``auto_scale_lr`` of the base config.
    """
    scale = SMALL if channels < SMALL_CHANNELS else LARGE
    side = _choose_side(measures, scale)
    epochs = _choose_epochs(measures.num_images)
    steps = math.ceil(measures.num_images / scale.batch_size) * epochs
    max_iters = max(round(steps, -2), 1000)
    # AdamW: the learning rate follows the square root of the batch size.
    lr = base_lr * math.sqrt(scale.batch_size / base_batch_size)
    return Recipe(
        image_size=_fit_proportions(measures, side),
        smallest_object=round(measures.object_side * side),
        batch_size=scale.batch_size,
        num_workers=scale.num_workers,
        max_iters=max_iters,
        epochs=round(max_iters * scale.batch_size / measures.num_images),
        warmup=min(max_iters // 20, 500),
        milestone=round(max_iters * 0.85),
        interval=max(max_iters // 10, 50),
        log_interval=min(max(max_iters // 100, 10), 50),
        lr=float(f'{lr:.2g}'),
    )


def find_embed_dims(config: Mapping[str, Any], names: Sequence[str]) -> int:
    """Return ``embed_dims`` of the head of a config; 256 is the default."""
    heads = [config['model'][name] for name in names if name in config['model']]
    return int(heads[0].get('embed_dims', 256))


def _find_area(item: Mapping[str, Any]) -> float:
    """Return the area of an object in pixels, or of its box if the area is not given; 0 if neither is given."""
    width, height = (item.get('bbox') or [0, 0, 0, 0])[2:]
    return max(item.get('area') or width * height, 0)


def _choose_side(measures: Measures, scale: Scale) -> int:
    """Return the longer side of the image: as small as the objects allow, because time grows with the area."""
    longer = max(measures.width, measures.height)
    side = longer
    if measures.object_side:
        side = min(longer, math.ceil(scale.object_side / measures.object_side))
    side = min(max(side, scale.min_side), scale.max_side)
    return next(usual for usual in SIDES if usual >= side)


def _fit_proportions(measures: Measures, side: int) -> tuple[int, int]:
    """Return width and height, the longer one ``side``; a square if the images have several shapes."""
    if not measures.one_shape:
        return side, side
    longer = max(measures.width, measures.height)
    sides = []
    for length in (measures.width, measures.height):
        exact = length / longer * side
        sides.append(math.ceil(exact / 32) * 32)
    return sides[0], sides[1]


def _choose_epochs(num_images: int) -> int:
    """Return how often to show each image: small data need more epochs, as a model needs a number of steps."""
    if num_images >= 10_000:
        return 12
    return 24 if num_images >= 2_000 else 50
