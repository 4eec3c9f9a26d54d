"""Which results are made of predictions, and what images of stuff alone or things alone teach."""

import pytest
import torch
from helpers.tiny import build
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData, PixelData

from mask_dino.det.detector import to_targets
from mask_dino.structures import QueryPredictions

THINGS, STUFF = 3, 2
SIDE = 96
QUARTERS = torch.full((4, 24, 24), -9.0)
for corner in range(4):
    QUARTERS[corner, 12 * (corner // 2) :, 12 * (corner % 2) :][:12, :12] = 9
SWITCHES = dict(
    instance_on='pred_instances', panoptic_on='pred_panoptic_seg', semantic_on='pred_sem_seg'
)
SWITCHES['stuff_on'] = 'pred_stuff_instances'


def fusion(**options: object):
    """Return the fusion head of the published config, with everything on."""
    test_cfg = Config.fromfile('configs/_base_/models/maskdino_r50.py').model.test_cfg
    test_cfg.update(panoptic_on=True, semantic_on=True, stuff_on=True, **options)
    head = dict(type='mmdet.MaskDINOFusionHead', num_things_classes=THINGS, num_stuff_classes=STUFF)
    return MODELS.build(head | dict(test_cfg=ConfigDict(test_cfg)))


def results(
    head, probabilities: list[list[float]], corners: tuple[int, ...] = (0, 1, 2, 3)
) -> dict:
    """Return the results of queries, of which every class has a probability, in the corners of an image."""
    logits = torch.tensor(probabilities).logit()
    boxes, masks = (
        torch.full((len(logits), 4), 0.5),
        torch.stack([QUARTERS[i] for i in corners[: len(logits)]]),
    )
    image = DetDataSample(
        metainfo=dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), (SIDE, SIDE))
    )
    [found] = head.predict(QueryPredictions(logits[None], boxes[None], masks[None]), [image])
    return found


def one_class(label: int, probability: float) -> list[float]:
    return [probability if label == other else 0.01 for other in range(THINGS + STUFF)]


def test_things_of_the_best_of_all_classes_or_the_best_of_things():
    queries = [one_class(3, 0.9), one_class(0, 0.8), one_class(4, 0.7), one_class(2, 0.6)]
    found = results(fusion(max_per_image=3), queries)
    assert found['ins_results'].labels.tolist() == [0]
    assert found['stuff_results'].labels.tolist() == [3, 4]
    found = results(fusion(max_per_image=3, rank_things_alone=True), queries)
    assert found['ins_results'].labels[:2].tolist() == [0, 2]
    assert len(found['ins_results']) == 3 and found['ins_results'].labels.max() < THINGS


def test_things_leave_out_stray_pixels_and_stuff_does_not():
    logits = torch.tensor([one_class(1, 0.9), one_class(4, 0.8)]).logit()
    masks = QUARTERS[[0, 0]].clone()  # upper left
    masks[:, 20:, 20:] = 9
    boxes = torch.tensor([0.25, 0.25, 0.4, 0.4]).expand(2, 4)
    image = DetDataSample(
        metainfo=dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), (SIDE, SIDE))
    )
    queries = QueryPredictions(logits[None], boxes[None], masks[None])
    [as_they_are] = fusion().predict(queries, [image])
    [cleaned] = fusion(mask_window=1.5, mean_boxes=True, iou_thr=0.0).predict(queries, [image])
    whole, thing = as_they_are['ins_results'], cleaned['ins_results']
    assert whole.masks[0, -1, -1] and not thing.masks[0, -1, -1]
    assert thing.masks[0, 20, 20] and thing.scores[0] >= whole.scores[0]
    assert (thing.bboxes[0] > 0).all() and (thing.bboxes[0] < SIDE // 2 + 2).all()
    assert not thing.bboxes[0].equal(whole.bboxes[0])
    assert cleaned['pan_results'].sem_seg[0, -1, -1] == 4
    assert cleaned['stuff_results'].masks[0, -1, -1]
    [agreeing] = fusion(agreement_scores=True).predict(queries, [image])
    assert agreeing['ins_results'].scores[0] < as_they_are['ins_results'].scores[0]
    assert agreeing['stuff_results'].scores.equal(as_they_are['stuff_results'].scores)


def test_things_are_found_once_with_nms():
    queries = [one_class(1, 0.9), one_class(1, 0.8), one_class(2, 0.7), one_class(4, 0.6)]
    same_place = (0, 0, 0, 0)
    everything = results(fusion(), queries, corners=same_place)
    distinct = results(fusion(nms_iou=0.7), queries, corners=same_place)
    assert len(everything['ins_results']) == len(queries) * THINGS
    assert distinct['ins_results'].labels.tolist() == [1, 2, 0]
    assert distinct['ins_results'].scores.tolist()[:2] == pytest.approx([0.9, 0.7], abs=0.01)
    assert len(distinct['stuff_results']) == len(everything['stuff_results'])


@pytest.mark.parametrize(
    ('option', 'value'), [('mask_window', -1), ('mask_window', 0), ('nms_iou', 1.1)]
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(ValueError, match=rf'test_cfg.{option}={value}: set .* or None to keep all'):
        fusion(**{option: value})


def test_segments_of_the_map():
    queries = [one_class(1, 0.9), one_class(1, 0.8), one_class(4, 0.7), one_class(4, 0.6)]
    found = results(fusion(), queries)['pan_results'].sem_seg[0]
    half = SIDE // 2
    assert found[: half - 4, : half - 4].unique().tolist() == [1 + INSTANCE_OFFSET]
    assert found[: half - 4, half + 4 :].unique().tolist() == [1 + 2 * INSTANCE_OFFSET]
    assert found[half + 4 :].unique().tolist() == [4], 'stuff of a class is one segment'


def test_the_threshold_is_that_of_the_sigmoid_and_the_rank_that_of_the_sharpened_score():
    undecided, sure = [0.9] * (THINGS + STUFF), one_class(1, 0.5)
    found = results(fusion(), [undecided, sure, one_class(2, 0.24)], corners=(0, 0, 1))[
        'pan_results'
    ].sem_seg
    assert set(found.unique().tolist()) == {1 + INSTANCE_OFFSET, THINGS + STUFF}
    found = results(fusion(), [undecided], corners=(3,))['pan_results'].sem_seg
    assert set(found.unique().tolist()) == {INSTANCE_OFFSET, THINGS + STUFF}


@pytest.mark.parametrize('switch', SWITCHES)
def test_each_result_can_be_switched_off(switch):
    model = panoptic_model().eval()
    model.panoptic_fusion_head.test_cfg.update(dict.fromkeys(SWITCHES, True) | {switch: False})
    data = dict(inputs=[torch.zeros(3, SIDE, SIDE)], data_samples=[sample(things=0, stuff=0)])
    [found] = model.test_step(data)
    assert {field for field in SWITCHES.values() if field in found} == {*SWITCHES.values()} - {
        SWITCHES[switch]
    }


def panoptic_model() -> torch.nn.Module:
    model = build(
        num_things_classes=THINGS,
        num_stuff_classes=STUFF,
        queries=dict(boxes_from_masks=False),
        criterion=dict(decouple_stuff=True),
    )
    model.panoptic_fusion_head = fusion()
    return model


def sample(things: int, stuff: int) -> DetDataSample:
    """Return the ground truth of columns, things first; void is beyond them."""
    classes = torch.full((SIDE, SIDE), 255)
    masks = torch.zeros(things, SIDE, SIDE)
    for i in range(things):
        masks[i, :, 4 * i : 4 * i + 4], classes[:, 4 * i : 4 * i + 4] = 1, i
    for i in range(stuff):
        classes[:, 16 + 4 * i : 20 + 4 * i] = THINGS + i
    left = torch.arange(things)[:, None] * 4.0
    corners = torch.cat((left, left * 0, left + 4, left * 0 + SIDE), 1)
    truth = InstanceData(
        labels=torch.arange(things),
        bboxes=corners,
        masks=BitmapMasks(masks.numpy().astype('uint8'), SIDE, SIDE),
    )
    meta = dict.fromkeys(('img_shape', 'ori_shape'), (SIDE, SIDE))
    return DetDataSample(
        gt_instances=truth, gt_sem_seg=PixelData(sem_seg=classes[None]), metainfo=meta
    )


def test_stuff_has_the_boxes_of_its_masks():
    targets = to_targets(sample(1, 2), torch.Size((SIDE, SIDE)), panoptic_model().panoptic_head)
    assert targets.labels.tolist() == [0, 3, 4]
    centres = torch.tensor([2, 18, 22]) / SIDE
    ones = torch.ones(3)
    torch.testing.assert_close(
        targets.boxes, torch.stack((centres, 0.5 * ones, 4 / SIDE * ones, ones), 1)
    )


@pytest.mark.parametrize(('things', 'stuff'), [(0, 2), (3, 0), (0, 0), (2, 1)])
def test_images_of_stuff_alone_things_alone_both_and_neither_train(things, stuff):
    model = panoptic_model().train()
    data = dict(inputs=[torch.full((3, SIDE, SIDE), 9)], data_samples=[sample(things, stuff)])
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    total, logged = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for p in model.parameters()
        if p.requires_grad
    )
    assert (logged['loss_bbox'] > 0) == (things > 0), 'stuff has no box loss'
    assert (logged['loss_mask'] > 0) == (things + stuff > 0)
