"""Crops show their object in the middle, at its scale, and the background shows none."""

import numpy as np
import pytest
import torch
from helpers.coco_folder import CLASSES, PIPELINE, coco_content, dataset_config, write_coco

from mask_dino.pretraining.crops import ObjectCrops, collate_crops, crop_square

SIZE = 32


@pytest.fixture
def build(tmp_path):
    """Return a function that builds crops of images with a cat and a dog each."""
    write_coco(tmp_path, coco_content())

    def build(**options: object) -> ObjectCrops:
        settings = dict(num_classes=len(CLASSES), size=SIZE) | options
        pipeline = [step for step in PIPELINE if step['type'] != 'RandomFlip']
        return ObjectCrops(dataset_config(tmp_path, pipeline=pipeline), **settings)

    return build


def test_every_object_has_a_crop_and_its_label(build):
    crops = build()
    for index in range(len(crops)):
        images, labels = crops[index]
        assert images.shape[1:] == (3, SIZE, SIZE)
        assert images.dtype == torch.uint8
        assert (labels == 0).sum() == (labels == 1).sum() == 1


def test_an_image_of_many_objects_gives_as_many_as_allowed(build):
    labels = build(max_objects=1)[0].labels
    assert (labels < len(CLASSES)).sum() == 1


def test_labels_that_are_no_things_are_left_out(build):
    labels = build(num_classes=1)[0].labels
    assert (labels == 0).sum() == 1


def square(side: int, canvas: int = 64) -> np.ndarray:
    """Return a white square in the middle of a black image."""
    image = np.zeros((canvas, canvas, 3), np.uint8)
    low = (canvas - side) // 2
    image[low : low + side, low : low + side] = 255
    return image


@pytest.mark.parametrize('scale', [0.25, 0.4, 0.75, 1.0, 1.5])
def test_a_crop_shows_an_object_in_its_middle_at_the_asked_scale(scale):
    crop = crop_square(square(16), np.array([32.0, 32.0]), scale, SIZE, (0, 0, 0))
    area = crop[..., 0].astype(float).sum() / 255
    assert np.sqrt(area) == pytest.approx(16 * scale, abs=1.0)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    assert rows.mean() == pytest.approx((SIZE - 1) / 2, abs=1.0)
    assert columns.mean() == pytest.approx((SIZE - 1) / 2, abs=1.0)


def test_what_lies_outside_of_the_image_has_the_given_colour():
    crop = crop_square(square(64), np.array([0.0, 0.0]), 1.0, SIZE, (1, 2, 3))
    assert crop[0, 0].tolist() == [1, 2, 3]
    assert crop[-1, -1].tolist() == [255, 255, 255]


def test_an_object_that_is_larger_than_the_crop_is_shrunk_to_fit(build):
    crops = build(size=16, is_test=True)
    objects = crops.read_objects(0)
    painted = np.zeros_like(objects.image)
    left, top, right, bottom = objects.boxes[0].astype(int)
    painted[top:bottom, left:right] = 255
    images, _ = crops.crop_objects(objects._replace(image=painted))
    middle_row = images[0][8, :, 0]
    assert (right - left) > 16
    assert (middle_row > 127).all()
    assert images[0][0, 0, 0] < 127  # the box is wider than high


def test_background_shows_no_object_in_its_middle(build):
    crops = build()
    objects = crops.read_objects(0)
    marked = np.zeros_like(objects.image)
    for left, top, right, bottom in objects.boxes.astype(int):
        marked[top:bottom, left:right] = 255
    np.random.seed(0)
    shown = []
    for _ in range(50):
        shown += crops.crop_background(objects._replace(image=marked))
    assert len(shown) > 10
    middles = np.array(shown)[:, SIZE // 2 - 4 : SIZE // 2 + 4, SIZE // 2 - 4 : SIZE // 2 + 4]
    assert middles.max() == 0


def test_a_test_takes_every_object_once_and_is_repeatable(build):
    crops = build(is_test=True, max_objects=1)
    first, second = crops[0], crops[0]
    assert first.labels.tolist() == [0, 1]
    assert torch.equal(first.images, second.images)


def test_images_without_objects_add_nothing_to_a_batch(build):
    content = build()[0]
    empty = type(content)(content.images[:0], content.labels[:0])
    batch = collate_crops([empty, content, empty])
    assert torch.equal(batch['inputs'], content.images)
    assert torch.equal(batch['data_samples'], content.labels)
