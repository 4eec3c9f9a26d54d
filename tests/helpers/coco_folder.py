"""A handful of small images in COCO format, to be damaged by tests."""

import copy
import json
from pathlib import Path

import cv2
import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

import mask_dino.hooks  # noqa: F401  registers the data set

WIDTH, HEIGHT = 80, 64
CLASSES = ('cat', 'dog')
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), by_mask=True, keep_empty=False),
    dict(type='PackDetInputs'),
]


def coco_content(num_images: int = 3) -> dict:
    """Return the annotations of images with a cat and a dog each."""
    boxes = ((8, 10, 24, 20), (16, 10, 24, 20))
    names = [f'{index}.jpg' for index in range(num_images)]
    return dict(
        images=[
            dict(id=i, file_name=name, width=WIDTH, height=HEIGHT) for i, name in enumerate(names)
        ],
        annotations=[
            dict(
                id=2 * i + label,
                image_id=i,
                category_id=label + 1,
                bbox=[x, y, w, h],
                area=w * h,
                iscrowd=0,
                segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
            )
            for i in range(num_images)
            for label, (x, y, w, h) in enumerate(boxes)
        ],
        categories=[dict(id=label + 1, name=name) for label, name in enumerate(CLASSES)],
    )


def write_coco(folder: Path, content: dict, file: str = 'train.json') -> None:
    """Write annotations, and those of their images that are not there."""
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    for image in content['images']:
        path = folder / 'images' / image['file_name']
        if not path.exists():
            cv2.imwrite(
                str(path), np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            )
    (folder / file).write_text(json.dumps(content))


def dataset_config(folder: Path, file: str = 'train.json', **options: object) -> dict:
    """Return the config of the data set in a folder."""
    return dict(
        type='CheckedCocoDataset',
        data_root=str(folder),
        ann_file=file,
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=CLASSES),
        pipeline=copy.deepcopy(PIPELINE),
    ) | dict(options)


def build_dataset(folder: Path, **options: object) -> CocoDataset:
    """Return the data set in a folder."""
    return DATASETS.build(dataset_config(folder, **options))
