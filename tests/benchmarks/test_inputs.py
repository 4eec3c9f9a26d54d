import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict

from mask_dino.benchmarks.inputs import ClassCounts, Load, detection_batch

LOAD = Load(height=64, width=96, objects=7, batch=2)


def test_boxes_enclose_masks():
    for sample in detection_batch(LOAD, ClassCounts(80, 0), seed=0)['data_samples']:
        truth = sample.gt_instances
        assert len(truth.labels) == LOAD.objects and 'gt_sem_seg' not in sample
        assert truth.masks.masks.shape == (LOAD.objects, LOAD.height, LOAD.width)
        for mask, box in zip(truth.masks.masks, truth.bboxes, strict=True):
            ys, xs = mask.nonzero()
            tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_allclose(box, tight, atol=1.5)


def test_stuff_lies_behind_things():
    for sample in detection_batch(LOAD, ClassCounts(5, 3), seed=0)['data_samples']:
        pixels, truth = sample.gt_sem_seg.sem_seg[0], sample.gt_instances
        covered = torch.from_numpy(truth.masks.masks).bool().any(0)
        assert pixels.shape == covered.shape
        assert (pixels[covered] < 5).all()
        assert set(pixels[~covered].tolist()) == {5, 6, 7}


@pytest.mark.parametrize('objects', [0, 1])
def test_few_objects(objects):
    batch = detection_batch(LOAD._replace(objects=objects), ClassCounts(1, 1), seed=0)
    assert [image.shape for image in batch['inputs']] == [(3, 64, 96)] * 2
    assert all(len(sample.gt_instances) == objects for sample in batch['data_samples'])


def test_equal_seeds_give_equal_batches():
    first, second, other = (detection_batch(LOAD, ClassCounts(5, 3), seed) for seed in (0, 0, 1))
    assert torch.equal(first['inputs'][1], second['inputs'][1])
    assert torch.equal(
        first['data_samples'][1].gt_instances.bboxes, second['data_samples'][1].gt_instances.bboxes
    )
    assert not torch.equal(first['inputs'][1], other['inputs'][1])


def test_classes_are_found_wherever_they_are():
    panoptic = Config.fromfile('configs/_base_/models/maskdino_r50.py').model
    assert ClassCounts.from_config(panoptic) == (80, 0)
    roi = dict(type='X', roi_head=dict(bbox_head=dict(num_classes=7)))
    assert ClassCounts.from_config(ConfigDict(roi)) == (7, 0)
