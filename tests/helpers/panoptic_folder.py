"""Small panoptic data sets in COCO's format, random or given, and predictions for them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

import mask_dino.det  # noqa: F401  registers data sets and metrics

THINGS, STUFF = ('cat', 'dog', 'owl'), ('sky', 'sea')
CLASSES = THINGS + STUFF
META = dict(classes=CLASSES, thing_classes=THINGS, stuff_classes=STUFF)
CATEGORY = {0: 7, 1: 3, 2: 90, 3: 92, 4: 200}  # ids are in no order and have gaps, as COCO's
HEIGHT, WIDTH = 24, 32
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadCocoPanopticAnnotations'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]


class Picture(NamedTuple):
    """The segments of one image."""

    pixels: np.ndarray  # (H, W) number of the segment, from 1, 0 is void
    labels: list[int]
    crowds: list[bool]


def random_picture(rng: np.random.Generator, segments: int) -> Picture:
    """Paint rectangles over one another; some of the picture stays void, and one thing in four is a crowd."""
    pixels = np.zeros((HEIGHT, WIDTH), int)
    for number in range(1, segments + 1):
        y, x, h, w = rng.integers((0, 0, 4, 4), (HEIGHT - 4, WIDTH - 4, HEIGHT, WIDTH))
        pixels[y : y + h, x : x + w] = number
    shown = np.unique(pixels[pixels > 0])
    labels = list[int]()
    for label in rng.integers(len(CLASSES), size=len(shown)).tolist():
        # Stuff of one class is one segment.
        labels.append(label if label < len(THINGS) or label not in labels else label % len(THINGS))
    crowds = [label < len(THINGS) and rng.random() < 0.25 for label in labels]
    return Picture(np.searchsorted(np.concatenate(([0], shown)), pixels), labels, crowds)


def guess(rng: np.random.Generator, truth: Picture) -> Picture:
    """Shift and damage a picture, so that some of its segments are found again."""
    pixels = np.roll(truth.pixels, rng.integers(-2, 3, size=2), (0, 1))
    labels = [
        label if rng.random() < 0.8 else int(rng.integers(len(CLASSES))) for label in truth.labels
    ]
    y, x = rng.integers((HEIGHT, WIDTH))
    pixels[y : y + 8, x : x + 8] = rng.integers(len(labels) + 1)
    # Stuff of one class is one segment, as a model would have it.
    numbers = {0: 0} | {number: number for number in range(1, len(labels) + 1)}
    first = {label: labels.index(label) + 1 for label in labels if label >= len(THINGS)}
    numbers |= {number: first.get(label, number) for number, label in enumerate(labels, start=1)}
    pixels = np.vectorize(numbers.get)(pixels)
    # Some void is claimed.
    return Picture(
        np.where((pixels == 0) & (rng.random() < 0.5), min(1, len(labels)), pixels), labels, []
    )


def panoptic_content(pictures: Sequence[Picture]) -> dict:
    """Return the JSON content of pictures, whose images have ids from 100."""
    images = [
        dict(id=100 + i, file_name=f'{i}.jpg', height=p.pixels.shape[0], width=p.pixels.shape[1])
        for i, p in enumerate(pictures)
    ]
    annotations = [
        dict(image_id=100 + i, file_name=f'map{i}.png', segments_info=segments(picture))
        for i, picture in enumerate(pictures)
    ]
    categories = [
        dict(id=CATEGORY[i], name=name, isthing=int(name in THINGS))
        for i, name in enumerate(CLASSES)
    ]
    return dict(images=images, annotations=annotations, categories=categories)


def segment_id(number: int) -> int:
    """Return the id of a segment in the PNG, which uses all three channels."""
    return number * 70_001


def segments(picture: Picture) -> list[dict]:
    """Return segments_info of a picture."""
    infos = []
    for number, (label, crowd) in enumerate(
        zip(picture.labels, picture.crowds, strict=True), start=1
    ):
        ys, xs = np.nonzero(picture.pixels == number)
        x, y = int(xs.min()), int(ys.min())
        box = [x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y]
        info = dict(
            id=segment_id(number),
            category_id=CATEGORY[label],
            iscrowd=int(crowd),
            bbox=box,
            area=len(ys),
        )
        infos.append(info)
    return infos


def write_panoptic(folder: Path, pictures: Sequence[Picture], content: dict | None = None) -> None:
    """Write images, PNGs and the JSON file."""
    for name in ('images', 'maps'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        ids = np.where(picture.pixels > 0, segment_id(picture.pixels), 0)
        cv2.imwrite(
            str(folder / f'images/{i}.jpg'), np.full((*ids.shape, 3), 40 * i % 255, np.uint8)
        )
        cv2.imwrite(
            str(folder / f'maps/map{i}.png'), np.stack([ids >> 16, ids >> 8 & 255, ids & 255], 2)
        )
    (folder / 'panoptic.json').write_text(
        json.dumps(panoptic_content(pictures) if content is None else content)
    )


def dataset_config(folder: Path, **options: object) -> dict:
    """Return the config of the data set in a folder."""
    return dict(
        type='CheckedCocoPanopticDataset',
        data_root=str(folder),
        ann_file='panoptic.json',
        data_prefix=dict(img='images/', seg='maps/'),
        metainfo=META,
        pipeline=PIPELINE,
        serialize_data=False,  # which takes long, whatever the size
    ) | dict(options)


def build_dataset(folder: Path, **options: object):
    """Return the data set in a folder."""
    return DATASETS.build(dataset_config(folder, **options))


def encode(picture: Picture) -> torch.Tensor:
    """Return mmdet's panoptic map (H, W)."""
    things = [
        label + INSTANCE_OFFSET * number for number, label in enumerate(picture.labels, start=1)
    ]
    values = [v if v % INSTANCE_OFFSET < len(THINGS) else v % INSTANCE_OFFSET for v in things]
    return torch.tensor([len(CLASSES), *values])[torch.from_numpy(picture.pixels)]


def prediction(index: int, picture: Picture) -> DetDataSample:
    """Return the data sample of a predicted picture."""
    meta = dict(img_id=100 + index, img_path=f'{index}.jpg', ori_shape=picture.pixels.shape)
    pixels = encode(picture)[None]
    return DetDataSample(pred_panoptic_seg=PixelData(sem_seg=pixels), metainfo=meta)


def truth_files(folder: Path) -> dict:
    """Return the arguments of a metric that name the ground truth in a folder."""
    return dict(ann_file=str(folder / 'panoptic.json'), seg_prefix=str(folder / 'maps'))


def evaluate(
    metrics: dict | list[dict], samples: Sequence[DetDataSample], meta: dict = META
) -> dict[str, float]:
    """Run metrics over data samples, one by one."""
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = meta
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples))
