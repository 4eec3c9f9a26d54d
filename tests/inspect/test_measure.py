import json
import math

import cv2
import numpy as np
import pytest
import torch
from helpers.exported import PANOPTIC
from helpers.inspected import make_image, small_mask2former, small_model
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData

from mask_dino.boxes import masks_to_boxes
from mask_dino.inspect import InspectionError, Truth, inspect_layers
from mask_dino.inspect.measure import measure_layers, plot_layers, to_json
from mask_dino.inspect.truth import Labels, compare_boxes, compare_masks, read_truth, to_targets
from mask_dino.postprocess import ImageSizes


def test_overlaps_of_masks_and_boxes_are_intersection_over_union():
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :2] = True
    masks[1, 1:3] = True
    assert compare_masks(masks[[0, 0, 0, 2]], masks[[0, 1, 2, 2]]) == pytest.approx(
        [1, 1 / 3, 0, 0]
    )
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [3, 3, 3, 3]], np.float32)
    overlaps = compare_boxes(boxes[[0, 0, 0, 3]], boxes[[0, 1, 2, 3]])
    assert overlaps == pytest.approx([1, 1 / 3, 0, 0])


@pytest.mark.parametrize('frame', [(40, 60), (20, 30)])
def test_annotations_are_read_in_the_frame_of_the_original_image(frame):
    masks = np.zeros((1, *frame), np.uint8)
    masks[0, : frame[0] // 2] = 1
    classes = torch.full((1, *frame), 255)
    classes[:, frame[0] // 2 :] = 5
    classes[:, :2, :2] = 0  # a thing
    instances = InstanceData(
        masks=BitmapMasks(masks, *frame),
        labels=torch.tensor([2]),
        bboxes=torch.tensor([[0.0, 0, frame[1], frame[0] / 2]]),
    )
    sample = DetDataSample(
        gt_instances=instances,
        gt_sem_seg=PixelData(sem_seg=classes),
        metainfo=dict(ori_shape=(40, 60), img_shape=(20, 30)),
    )
    truth = read_truth(sample, Labels(5, 8))
    assert truth.labels.tolist() == [2, 5]
    assert truth.boxes.tolist() == [[0, 0, 60, 20], [0, 20, 60, 40]]
    assert truth.masks.shape == (2, 40, 60)
    assert truth.masks[0, :20].all() and truth.masks[1, 20:].all()
    assert truth.masks.sum() == 2 * 20 * 60


def test_annotations_without_masks_are_refused():
    sample = DetDataSample(metainfo=dict(ori_shape=(4, 4), img_path='some.png'))
    with pytest.raises(InspectionError, match=r'some\.png has no masks'):
        read_truth(sample, Labels(5, 8))


def test_targets_are_fractions_of_the_padded_input():
    masks = np.zeros((1, 10, 20), bool)
    masks[0, :5, 10:] = True
    truth = Truth(np.array([1]), np.array([[10, 0, 20, 5]], np.float32), masks)
    sizes = ImageSizes(padded=(32, 64), resized=(20, 40), output=(10, 20))
    target = to_targets(truth, sizes, torch.device('cpu'))
    assert target.masks.shape == (1, 32, 64)
    torch.testing.assert_close(target.boxes, masks_to_boxes(target.masks))


@pytest.mark.parametrize('build', [lambda: small_model(PANOPTIC), small_mask2former])
def test_objects_that_are_predictions_overlap_fully_after_the_last_layer(build, tmp_path):
    model = build()
    path = str(tmp_path / 'image.png')
    cv2.imwrite(path, make_image())
    last = inspect_layers(model, path, top_k=30)[-1]
    areas = last.masks.mean((1, 2))
    chosen = np.flatnonzero((areas > 0.05) & (areas < 0.9))[:2]
    truth = Truth(last.labels[chosen], last.boxes[chosen], last.masks[chosen])
    said = []
    quality = measure_layers('model', model, [(path, truth)], said.append)
    assert quality.num_images == 1 and quality.num_objects == 2
    assert quality.layers[-1].mask_iou > 0.8
    assert quality.layers[-1].mask_iou >= quality.layers[-2].mask_iou
    assert said == ['model: 1 of 1 images']
    described = json.loads(to_json([quality]))
    assert [layer['layer'] for layer in described[0]['layers']][-4:] == [0, 1, 2, 3]
    values = quality.layers[-1]._asdict()
    for name, value in described[0]['layers'][-1].items():
        assert value is None if math.isnan(values[name]) else value == values[name]
    assert cv2.imdecode(np.frombuffer(plot_layers([quality]), np.uint8), 1).std() > 10


def test_nothing_to_measure_is_said():
    empty = Truth(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros((0, 5, 5), bool))
    with pytest.raises(InspectionError, match='nothing to measure'):
        measure_layers('model', small_model(PANOPTIC), [('none.png', empty)])
