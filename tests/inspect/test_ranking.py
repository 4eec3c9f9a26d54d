"""The quality of single images, and pictures of their results."""

import numpy as np
import pytest
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from mask_dino.inspect import Truth
from mask_dino.inspect.pictures import (
    LARGEST,
    SMALLEST,
    Segment,
    arrange_pictures,
    choose_side,
    draw_segments,
    list_truth,
)
from mask_dino.inspect.ranking import Instances, Panoptic, Semantic, find_tasks

CLASSES = ('cat', 'dog', 'sky')
PALETTE = ((255, 0, 0), (0, 200, 0), (0, 0, 255))


def half(side):
    """Return the left or the right half of an image of 20 x 40 pixels."""
    mask = np.zeros((20, 40), bool)
    mask[:, slice(0, 20) if side == 'left' else slice(20, 40)] = True
    return mask


@pytest.fixture
def truth():
    boxes = np.array([[0, 0, 20, 20], [20, 0, 40, 20]], np.float32)
    return Truth(np.array([0, 2]), boxes, np.stack([half('left'), half('right')]))


@pytest.fixture
def sample():
    """Return the results of a model that found both halves, and a dog."""
    pixels = torch.full((1, 20, 40), 2)
    pixels[:, :, :20] = INSTANCE_OFFSET  # class 0, instance 1
    classes = torch.full((1, 20, 40), 2)
    classes[:, :, :10] = 0
    masks = torch.from_numpy(np.stack([half('left'), half('right')]))
    instances = InstanceData(
        labels=torch.tensor([0, 1]),
        scores=torch.tensor([0.9, 0.2]),
        bboxes=torch.tensor([[0.0, 0, 20, 20], [20, 0, 40, 20]]),
        masks=masks,
    )
    return DetDataSample(
        pred_instances=instances,
        pred_panoptic_seg=PixelData(sem_seg=pixels),
        pred_sem_seg=PixelData(sem_seg=classes),
    )


def rate(task, sample, truth):
    return task.rate(task.list_results(sample, CLASSES), task.choose_truth(truth, num_things=2))


def test_perfect_results_have_quality_1(sample, truth):
    assert rate(Instances(0.3), sample, truth) == 1
    assert rate(Panoptic(), sample, truth) == 1
    assert [task.name for task in find_tasks(sample, 0.3)] == ['instances', 'panoptic', 'semantic']


def test_false_and_missed_objects_lower_the_quality(sample, truth):
    # One match and one false dog.
    assert rate(Instances(0.1), sample, truth) == pytest.approx(1 / 1.5)
    # One missed object.
    assert rate(Instances(0.95), sample, truth) == 0
    # Half of the cat is sky: IoU 1/2 of the cat and 2/3 of the sky.
    assert rate(Semantic(), sample, truth) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_images_without_anything_to_find_are_perfect_if_nothing_is_found(sample):
    empty = Truth(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros((0, 20, 40), bool))
    assert rate(Instances(0.95), sample, empty) == 1
    assert rate(Instances(0.3), sample, empty) == 0


@pytest.mark.parametrize('size', [(128, 128), (2000, 1500), (16, 300), (1, 1)])
def test_pictures_of_any_image_have_words_of_a_readable_size(size):
    image = np.zeros((*size, 3), np.uint8)
    mask = np.ones(size, bool)
    side = choose_side(image.shape)
    assert SMALLEST <= side <= LARGEST
    segment = Segment(0, 'cat 0.50', mask, np.array([0, 0, size[1], size[0]], np.float32))
    picture = draw_segments(image, [segment], PALETTE, side)
    assert max(picture.shape) == side
    if min(picture.shape[:2]) > 20:
        # The name stands on its class colour: full red, where the mask is only half red.
        rows = (picture == (255, 0, 0)).all(-1).sum(1)
        assert (rows > 20).sum() >= 15


def test_names_of_neighbours_do_not_hide_each_other():
    image = np.zeros((100, 100, 3), np.uint8)
    mask = np.zeros((100, 100), bool)
    segments = [Segment(label, 'name', mask) for label in (0, 1)]  # both begin at the same corner
    picture = draw_segments(image, segments, PALETTE, 500)
    alone = draw_segments(image, segments[:1], PALETTE, 500)
    full = [(shown == PALETTE[0]).all(-1).sum() for shown in (picture, alone)]
    assert full[0] == full[1] > 0


def test_sheets_hold_all_pictures_and_titles(truth):
    image = np.zeros((20, 40, 3), np.uint8)
    picture = draw_segments(image, list_truth(truth, CLASSES), PALETTE, 480)
    sheet = arrange_pictures([('image', picture), ('a very long title of this picture', picture)])
    assert sheet.shape[1] > 2 * 480 and sheet.shape[0] > 240
