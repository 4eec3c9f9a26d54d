"""AP of things and of stuff: the truth has AP 100 %, and each looks at its own classes alone."""

import numpy as np
import pytest
import torch
from helpers.panoptic_folder import (
    THINGS,
    Picture,
    evaluate,
    prediction,
    random_picture,
    truth_files,
    write_panoptic,
)
from mmengine.structures import InstanceData

from mask_dino.messages import DataError

STUFF = dict(type='StuffAPMetric', metric=['segm'])
THING = dict(type='ThingAPMetric', metric=['bbox', 'segm'])


@pytest.fixture(scope='module')
def pictures() -> list[Picture]:
    rng = np.random.default_rng(0)
    return [random_picture(rng, 5) for _ in range(8)]


def instances(picture: Picture, stuff: bool) -> InstanceData:
    """Return the segments of a picture that are no crowds, as found with certainty."""
    numbers = [
        number
        for number, (label, crowd) in enumerate(
            zip(picture.labels, picture.crowds, strict=True), start=1
        )
        if (label >= len(THINGS)) == stuff and not crowd
    ]
    masks = torch.from_numpy(picture.pixels == np.array(numbers, int).reshape(-1, 1, 1))
    places = [mask.nonzero() for mask in masks]
    boxes = [[*place.amin(0).flip(0), *(place.amax(0).flip(0) + 1)] for place in places]
    labels = torch.tensor([picture.labels[number - 1] for number in numbers], dtype=torch.int64)
    bboxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return InstanceData(masks=masks, labels=labels, bboxes=bboxes, scores=torch.ones(len(labels)))


def samples(pictures: list[Picture]) -> list:
    made = [prediction(i, picture) for i, picture in enumerate(pictures)]
    for sample, picture in zip(made, pictures, strict=True):
        sample.pred_instances = instances(picture, stuff=False)
        sample.pred_stuff_instances = instances(picture, stuff=True)
    return made


def test_the_truth_has_ap_1(tmp_path, pictures):
    write_panoptic(tmp_path, pictures)
    results = evaluate(
        [metric | truth_files(tmp_path) for metric in (THING, STUFF)], samples(pictures)
    )
    keys = [('coco', 'bbox'), ('coco', 'segm'), ('coco_stuff', 'segm')]
    expected = {
        f'{where}/{what}_{item}': 1 for where, what in keys for item in ('mAP', 'mAP_50', 'mAP_75')
    }
    assert {key: value for key, value in results.items() if 'copypaste' not in key} == expected


@pytest.mark.parametrize(
    ('metric', 'field'), [(THING, 'pred_instances'), (STUFF, 'pred_stuff_instances')]
)
def test_what_is_not_found_costs_its_own_kind_alone(tmp_path, pictures, metric, field):
    write_panoptic(tmp_path, pictures)
    damaged = samples(pictures)
    for sample in damaged[::2]:
        setattr(sample, field, getattr(sample, field)[:0])
    results = evaluate([m | truth_files(tmp_path) for m in (THING, STUFF)], damaged)
    scores = dict(
        pred_instances=results['coco/segm_mAP'], pred_stuff_instances=results['coco_stuff/segm_mAP']
    )
    assert {name for name, value in scores.items() if value < 0.9} == {field}


def test_a_model_that_gives_no_such_instances_is_told_the_option(tmp_path, pictures):
    write_panoptic(tmp_path, pictures)
    with pytest.raises(DataError, match=r'test_cfg=dict\(stuff_on=True\)'):
        evaluate(STUFF | truth_files(tmp_path), [prediction(0, pictures[0])])


def test_where_nothing_is_found_every_ap_is_0(tmp_path, pictures):
    write_panoptic(tmp_path, pictures)
    empty = samples(pictures)
    for sample in empty:
        sample.pred_instances = sample.pred_instances[:0]
    results = evaluate(THING | truth_files(tmp_path), empty)
    assert results == {
        f'coco/{what}_{item}': 0
        for what in ('bbox', 'segm')
        for item in ('mAP', 'mAP_50', 'mAP_75')
    }
