"""Sizes after the pipelines are computed as the pipelines make them, and compared between training and testing."""

import logging
from pathlib import Path

import numpy as np
import pytest
from helpers.coco_folder import HEIGHT, PIPELINE, WIDTH, build_dataset, coco_content, write_coco

from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.datasets.checks.pipelines import find_sizes

RESIZES = [
    dict(type='Resize', scale=(40, 30), keep_ratio=True),
    dict(type='Resize', scale=(40, 30), keep_ratio=False),
    dict(type='Resize', scale_factor=1.5, keep_ratio=True),
    dict(type='RandomResize', scale=(40, 40), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomChoiceResize', scales=[(20, 20), (60, 90)], keep_ratio=True),
    dict(type='ResizeShortestEdge', scale=30, max_size=35),
]


@pytest.fixture
def folder(tmp_path) -> Path:
    write_coco(tmp_path, coco_content())
    return tmp_path


@pytest.mark.parametrize('resize', RESIZES, ids=lambda resize: resize['type'])
def test_sizes_are_those_that_the_pipeline_makes(folder, resize):
    dataset = build_dataset(folder, pipeline=[*PIPELINE[:2], resize, PIPELINE[-1]])
    expected = find_sizes(dataset, np.array([[WIDTH, HEIGHT]], float))
    for index in range(10):
        height, width = dataset[index % 3]['inputs'].shape[1:]
        assert (expected.smallest[0] <= (width, height)).all() and (
            (width, height) <= expected.largest[0]
        ).all()


def test_tests_at_much_larger_sizes_than_training_are_a_warning(folder):
    small = dict(type='RandomResize', scale=(16, 16), ratio_range=(0.8, 1.25), keep_ratio=True)
    train = build_dataset(folder, pipeline=[*PIPELINE[:2], small, PIPELINE[-1]])
    val = build_dataset(folder, test_mode=True)
    messages = [
        m
        for level, m in check_loaders(dict(train_dataloader=train, val_dataloader=val), {}, None)
        if level == logging.WARNING and 'training images' not in m
    ]
    assert (
        len(messages) == 1
        and messages[0].startswith('val_dataloader: test images are')
        and 'image_size' in messages[0]
    )
    findings = check_loaders(dict(train_dataloader=val, val_dataloader=train), {}, None)
    assert all('test images' not in message for _, message in findings)


def test_images_too_narrow_for_a_resize_are_named(folder):
    content = coco_content()
    content['images'][1]['width'] = 3000
    content['images'][1]['height'] = 2
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != 1]
    write_coco(folder, content)
    resize = dict(type='Resize', scale=(100, 100), keep_ratio=True)
    dataset = build_dataset(folder, pipeline=[*PIPELINE[:2], resize, PIPELINE[-1]])
    messages = [message for _, message in check_loaders(dict(train_dataloader=dataset), {}, None)]
    assert any(
        '1 image so narrow' in message and '1.jpg (3000 x 2)' in message for message in messages
    )


def test_a_size_may_be_a_list_of_two_numbers(folder):
    """As the command line and configs in JSON write it."""
    resize = dict(type='Resize', scale=[40, 20], keep_ratio=False)
    dataset = build_dataset(folder, pipeline=[*PIPELINE[:2], resize, PIPELINE[-1]])
    sizes = find_sizes(dataset, np.array([[WIDTH, HEIGHT]], float))
    assert sizes.largest.tolist() == sizes.smallest.tolist() == [[40, 20]]
