import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps

from mask_dino.ops.stray_pixels import remove_stray_pixels
from mask_dino.postprocess import (
    average_boxes,
    clean_things,
    enclose_masks,
    find_distinct,
    measure_agreement,
)
from mask_dino.structures import QueryPredictions

NUM_THINGS = 2


@pytest.mark.parametrize('window', [1.0, 1.5])
def test_masks_of_things_lose_what_is_far_from_their_boxes(generator, window):
    logits = torch.randn(2, 50, 4, generator=generator)
    boxes = torch.rand(2, 50, 4, generator=generator)
    masks = torch.randn(2, 50, 6, 8, generator=generator)
    cleaned = clean_things(QueryPredictions(logits, boxes, masks), NUM_THINGS, window)
    assert cleaned.logits is logits and cleaned.boxes is boxes
    is_thing = logits.argmax(-1) < NUM_THINGS
    near = remove_stray_pixels(masks > 0, boxes, window)
    assert (cleaned.masks[is_thing] > 0).equal(near[is_thing])
    assert not near[is_thing].equal((masks > 0)[is_thing])
    assert cleaned.masks[~is_thing].equal(masks[~is_thing])
    assert cleaned.masks.abs().equal(masks.abs())


def filled(left: int, top: int, right: int, bottom: int) -> torch.Tensor:
    mask = torch.zeros(1, 20, 30, dtype=torch.bool)
    mask[:, top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ((4, 6, 14, 16), (4, 6, 14, 16)),
        ((5, 6, 14, 18), (4.5, 6, 14, 17)),
        ((14, 16, 24, 20), (14, 16, 24, 20)),  # elsewhere
        ((0, 0, 30, 20), (0, 0, 30, 20)),  # much larger
        ((6, 8, 6, 8), (6, 8, 6, 8)),  # without an area
        ((-2, 6, 14, 16), (1, 6, 14, 16)),  # partly outside of the image
    ],
)
def test_boxes_are_averaged_with_those_of_masks_that_agree(box, expected):
    boxes = torch.tensor([box], dtype=torch.float32)
    enclosing = enclose_masks(filled(4, 6, 14, 16))
    assert average_boxes(boxes, enclosing).tolist() == [list(expected)]


def test_the_agreement_is_the_overlap_with_the_box_of_the_mask():
    masks = torch.cat((filled(4, 6, 14, 16), filled(4, 6, 14, 16), filled(0, 0, 0, 0)))
    boxes = torch.tensor([[4.0, 6, 14, 16], [9, 6, 19, 16], [0, 0, 4, 4]])
    assert measure_agreement(boxes, enclose_masks(masks)).tolist() == pytest.approx([1, 1 / 3, 0])


def test_empty_masks_change_no_box():
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 0, 0], [3, 3, 2, 2]])
    empty = enclose_masks(torch.zeros(3, 20, 30, dtype=torch.bool))
    assert average_boxes(boxes, empty).equal(boxes)
    nothing = enclose_masks(torch.zeros(0, 20, 30, dtype=torch.bool))
    assert average_boxes(boxes[:0], nothing).shape == (0, 4)


def test_distinct_instances_overlap_with_no_better_one_of_their_class(generator):
    corners = 20 * torch.rand(60, 2, generator=generator) - 5  # some outside of the image
    boxes = torch.cat((corners, corners + 5 + 10 * torch.rand(60, 2, generator=generator)), 1)
    scores = torch.rand(60, generator=generator)
    labels = torch.randint(3, (60,), generator=generator)
    distinct = find_distinct(boxes, scores, labels, 0.5).tolist()
    assert scores[distinct].tolist() == scores[distinct].sort(descending=True).values.tolist()
    overlaps = (bbox_overlaps(boxes, boxes) > 0.5) & (labels[:, None] == labels)
    for index in range(60):
        better = [other for other in distinct if scores[other] > scores[index]]
        assert overlaps[better, index].any() == (index not in distinct)
    assert 20 < len(distinct) < 60


def test_no_instance_is_distinct_among_none():
    nothing = torch.zeros(0)
    assert find_distinct(torch.zeros(0, 4), nothing, nothing.long(), 0.5).shape == (0,)
