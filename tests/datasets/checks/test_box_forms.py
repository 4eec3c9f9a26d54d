"""Boxes in another form than COCO's are told by where they lie, without masks."""

import logging
from collections.abc import Callable

import numpy as np
import pytest

from mask_dino.datasets.checks.box_forms import check_box_form
from mask_dino.messages import Finding

SIZE = (640, 480)


def content_of(boxes: np.ndarray) -> dict:
    """Return the content of a file with one image and these boxes (N, 4)."""
    return dict(
        images=[dict(id=1, file_name='1.jpg', width=SIZE[0], height=SIZE[1])],
        categories=[],
        annotations=[dict(id=i, image_id=1, bbox=box) for i, box in enumerate(boxes.tolist())],
    )


def random_boxes(seed: int, count: int, largest: float = 0.4) -> np.ndarray:
    """Return boxes x, y, width, height (N, 4) anywhere in the image."""
    random = np.random.default_rng(seed)
    sides = random.uniform(0.05, largest, (count, 2)) * SIZE
    return np.concatenate((random.uniform(0, 1, (count, 2)) * (SIZE - sides), sides), 1)


def check(boxes: np.ndarray) -> list[Finding]:
    return check_box_form(content_of(boxes), 'train.json')


SCALE = np.array(SIZE * 2)
CORNERS: Callable = lambda boxes: np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)  # noqa: E731
OTHERS: dict[str, Callable] = {
    'looks like x1, y1, x2, y2 in all': CORNERS,
    'looks like the centre x, y and width, height in all': lambda boxes: np.concatenate(
        (boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]), 1
    ),
    'looks like y1, x1, y2, x2 in all': lambda boxes: CORNERS(boxes)[:, [1, 0, 3, 2]],
    'looks like y, x, height, width in all': lambda boxes: boxes[:, [1, 0, 3, 2]],
    'is in shares of the width and height': lambda boxes: boxes / SCALE,
    'is in shares': lambda boxes: CORNERS(boxes) / SCALE,
    'looks like x, y, width, height in thousandths': lambda boxes: 1000 * boxes / SCALE,
    'looks like x1, y1, x2, y2 (or y1, x1, y2, x2) in thousandths': lambda boxes: (
        1000 * CORNERS(boxes) / SCALE
    ),
}


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('message', OTHERS)
def test_other_forms_are_named_with_number_examples_and_remedy(message, seed):
    [finding] = check(OTHERS[message](random_boxes(seed, 60)))
    assert finding.level == logging.ERROR
    assert finding.message.startswith(f'train.json: bbox {message}')
    assert 'all of 60 annotations ([' in finding.message and 'and ' in finding.message
    assert 'Write x, y, width, height in pixels' in finding.message


@pytest.mark.parametrize('seed', range(20))
def test_sound_boxes_are_silent_also_if_some_reach_over_the_border(seed):
    boxes = random_boxes(seed, 40)
    assert check(boxes) == []
    boxes[:3, 0] = SIZE[0] - boxes[:3, 2] / 2
    assert check(boxes) == []
    assert check(random_boxes(seed, 40, largest=1.0)) == []


@pytest.mark.parametrize('scale', [0.3, 0.55])
def test_many_boxes_in_the_upper_left_are_a_warning(scale):
    [finding] = check(random_boxes(0, 60) * scale)
    assert finding.level == logging.WARNING and 'smaller images' in finding.message
    assert check(random_boxes(0, 20) * scale) == []


def test_a_few_boxes_are_not_judged():
    assert check(CORNERS(random_boxes(0, 4))) == []
