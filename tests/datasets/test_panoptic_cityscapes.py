"""Cityscapes as its own tool converts it is read, checked and evaluated."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.truth import perfect
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope

from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.datasets.panoptic import CityscapesPanopticDataset
from mask_dino.datasets.panoptic_png import write_ids
from mask_dino.messages import error_messages

CATEGORIES = {
    7: 'road',
    8: 'sidewalk',
    11: 'building',
    12: 'wall',
    13: 'fence',
    17: 'pole',
    19: 'traffic light',
}
CATEGORIES |= {
    20: 'traffic sign',
    21: 'vegetation',
    22: 'terrain',
    23: 'sky',
    24: 'person',
    25: 'rider',
    26: 'car',
}
CATEGORIES |= {27: 'truck', 28: 'bus', 31: 'train', 32: 'motorcycle', 33: 'bicycle'}
IMAGES = ('lindau_000000_000019', 'ulm_000001_000019')
SEGMENTS = (
    7,
    23,
    24,
    24001,
    24002,
    26000,
)  # of stuff, a group of persons, persons and a car: ids as in instanceIds.png


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Config:
    """The data config of a small copy."""
    root = tmp_path_factory.mktemp('cityscapes')
    for split in ('train', 'val'):
        write(root, split)
    stock = Config.fromfile('configs/_base_/datasets/cityscapes_panoptic.py')
    return Config.fromstring(stock.pretty_text.replace(stock.data_root, f'{root}/'), '.py')


def write(root: Path, split: str) -> None:
    """Write images and maps as they lie after createPanopticImgs.py."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for name in IMAGES:
        ids = np.array((0, *SEGMENTS))[
            np.kron(rng.permutation(8).clip(max=6).reshape(2, 4), np.ones((16, 16), int))
        ]
        folder = root / 'leftImg8bit' / split / name.split('_')[0]
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / f'{name}_leftImg8bit.png'), np.full((32, 64, 3), 90, np.uint8))
        write_ids(root / f'gtFine/cityscapes_panoptic_{split}/{name}_gtFine_panoptic.png', ids)
        infos = [describe(ids == number, number) for number in SEGMENTS]
        images.append(
            dict(id=name, width=64, height=32, file_name=f'{name}_gtFine_leftImg8bit.png')
        )
        annotations.append(
            dict(image_id=name, file_name=f'{name}_gtFine_panoptic.png', segments_info=infos)
        )
    categories = [
        dict(id=number, name=name, isthing=int(number >= 24)) for number, name in CATEGORIES.items()
    ]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / f'gtFine/cityscapes_panoptic_{split}.json').write_text(json.dumps(content))


def describe(mask: np.ndarray, number: int) -> dict:
    ys, xs = np.nonzero(mask)
    box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
    category = number // 1000 or number
    return dict(
        id=number, category_id=category, area=len(ys), bbox=box, iscrowd=int(24 <= number < 1000)
    )


def build(config: Config, loader: str):
    init_default_scope('mmdet')
    return DATASETS.build(config[loader].dataset)


def test_groups_are_no_objects_and_classes_go_by_name(config):
    dataset = build(config, 'val_dataloader')
    classes = dataset.metainfo['classes']
    assert len(classes) == len(dataset.metainfo['palette']) == 19
    for item in dataset:
        truth = item['data_samples']
        assert [classes[label] for label in truth.gt_instances.labels] == [
            'person',
            'person',
            'car',
        ]
        present = set(np.unique(truth.gt_sem_seg.sem_seg).tolist()) - {255}
        assert {classes[label] for label in present} == {'person', 'car', 'road', 'sky'}


def test_data_and_config_pass_the_checks(config):
    datasets = {name: build(config, name) for name in ('train_dataloader', 'val_dataloader')}
    assert error_messages(check_loaders(datasets, config, None)) == []


def test_training_takes_crops_of_the_size_of_the_config(config):
    sample = build(config, 'train_dataloader')[0]
    assert sample['inputs'].shape == (3, 512, 1024)
    assert sample['data_samples'].gt_sem_seg.sem_seg.shape == (1, 512, 1024)


def test_the_truth_is_perfect(config):
    dataset = build(config, 'val_dataloader')
    evaluator = Evaluator(config.val_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        evaluator.process([perfect(dataset, index)])
    results = evaluator.evaluate(len(dataset))
    wanted = {f'coco_panoptic/{name}': 100 for name in ('PQ', 'PQ_th', 'PQ_st')} | {
        'coco_semantic/mIoU': 100
    }
    wanted |= {'coco/bbox_mAP': 1, 'coco/segm_mAP': 1, 'coco_stuff/segm_mAP': 1}
    assert {name: results[name] for name in wanted} == pytest.approx(wanted)


def test_stuff_is_coloured_as_everywhere():
    from mmseg.datasets import CityscapesDataset

    known = CityscapesDataset.METAINFO
    ours = CityscapesPanopticDataset.METAINFO
    colours = {
        name: tuple(colour) for name, colour in zip(known['classes'], known['palette'], strict=True)
    }
    assert dict(zip(ours['classes'], ours['palette'], strict=True)) == colours
