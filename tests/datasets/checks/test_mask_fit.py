"""Masks that lie elsewhere than their boxes are reported with the most likely reason."""

import logging
from collections.abc import Callable

import numpy as np
import pycocotools.mask as coco_mask
import pytest
from helpers.coco_folder import HEIGHT, WIDTH, coco_content

from mask_dino.datasets.checks.mask_fit import check_mask_fit


def damage_polygons(content: dict, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the points (N, 2) of all polygons."""
    for annotation in content['annotations']:
        points = np.array(annotation['segmentation'][0], float).reshape(-1, 2)
        annotation['segmentation'] = [change(points).ravel().tolist()]


def write_runs(content: dict, order: str) -> None:
    """Replace polygons by run lengths that go down the columns (F), as in COCO, or along the rows (C)."""
    for annotation in content['annotations']:
        mask = coco_mask.decode(coco_mask.frPyObjects(annotation['segmentation'], HEIGHT, WIDTH))[
            ..., 0
        ]
        flat = mask.ravel(order=order)
        changes = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff(np.concatenate(([0], changes, [len(flat)]))).tolist()
        annotation['segmentation'] = dict(size=[HEIGHT, WIDTH], counts=runs)


def test_masks_that_fit_are_silent():
    content = coco_content()
    assert check_mask_fit(content, 'train.json') == []
    write_runs(content, 'F')
    assert check_mask_fit(content, 'train.json') == []


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        (lambda points: points[:, ::-1], 'exchanged'),
        (lambda points: points + 15, 'offset'),
        (lambda points: points * 0.5, 'times 0.5 and 0.5'),
        (lambda points: points * (1.2, 1.8), 'times 1.2 and 1.8'),
    ],
    ids=['exchanged', 'shifted', 'scaled', 'enlarged'],
)
def test_polygons_elsewhere_are_explained(change, word):
    content = coco_content()
    damage_polygons(content, lambda points: np.add(points, (24, 0)))
    for annotation in content['annotations']:
        annotation['bbox'][0] += 24  # far from the diagonal, where x and y are equal
    damage_polygons(content, change)
    ((level, message),) = check_mask_fit(content, 'train.json')
    assert level == logging.ERROR and word in message
    assert message.startswith('train.json: segmentation does not fit bbox in 6 annotations of 6')
    assert 'id 0 on 0.jpg' in message and 'id 1 on 0.jpg' in message and 'id 2' not in message


def test_run_lengths_along_the_rows_are_found():
    content = coco_content()
    write_runs(content, 'C')
    ((_, message),) = check_mask_fit(content, 'train.json')
    assert 'segmentation does not fit bbox in 6 annotations' in message and 'exchanged' in message


def test_one_misfit_is_a_warning():
    content = coco_content()
    content['annotations'][3]['segmentation'] = [[50, 40, 70, 40, 70, 60]]
    ((level, message),) = check_mask_fit(content, 'train.json')
    assert level == logging.WARNING and 'id 3 on 1.jpg' in message


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        (lambda x, y, w, h: [x, y, x + w, y + h], 'bbox is x1, y1, x2, y2: write x, y, width'),
        (lambda x, y, w, h: [x + w / 2, y + h / 2, w, h], 'bbox is the centre x, y and width'),
        (lambda x, y, w, h: [y, x, y + h, x + w], 'bbox is y1, x1, y2, x2: write'),
        (lambda x, y, w, h: [y, x, h, w], 'x and y are exchanged'),
        (lambda x, y, w, h: [x, HEIGHT - y - h, w, h], 'y counts from the bottom'),
        (
            lambda x, y, w, h: [
                100 * x / WIDTH,
                100 * y / HEIGHT,
                100 * w / WIDTH,
                100 * h / HEIGHT,
            ],
            'times 0.8',
        ),
    ],
    ids=['corners', 'centre', 'exchanged corners', 'exchanged', 'upside down', 'percent'],
)
def test_boxes_of_another_form_are_not_called_shifted_masks(change, word):
    content = coco_content()
    damage_polygons(content, lambda points: np.add(points, (7, 2)))
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        annotation['bbox'] = change(x + 7, y + 2, w, h)
    ((level, message),) = check_mask_fit(content, 'train.json')
    assert level == logging.ERROR and word in message


def test_many_masks_are_sampled_and_the_number_is_said(monkeypatch):
    monkeypatch.setattr('mask_dino.datasets.checks.mask_fit.MASKS', 5)
    content = coco_content(num_images=10)
    damage_polygons(content, lambda points: points + 15)
    assert '5 annotations of 5 looked at' in check_mask_fit(content, 'train.json')[0].message
    assert (
        '20 annotations of 20 looked at'
        in check_mask_fit(content, 'train.json', complete=True)[0].message
    )
