"""The recorder, against numbers that are computed apart from it."""

from itertools import pairwise

import pytest
import torch
from helpers.exported import PANOPTIC
from helpers.inspected import make_image, small_model
from torch import nn

from mask_dino.inspect.recorder import LayerRecorder
from mask_dino.inspect.views import inspect_layers
from mask_dino.ops.deformable_attention import DeformableAttention

HEADS, LEVELS, POINTS = 8, 3, 4
SHIFT = torch.tensor([0.4, -0.3, 0.2, -0.1])


@pytest.fixture
def model():
    """Return a model whose attention looks at known places and whose boxes move by a known shift."""
    model = small_model(PANOPTIC)
    head = model.panoptic_head
    for number, layer in enumerate(head.decoder.layers, 1):
        attention = layer.cross_attn
        nn.init.zeros_(attention.sampling_offsets.weight)
        nn.init.zeros_(attention.attention_weights.weight)
        offsets = torch.zeros(HEADS, LEVELS, POINTS, 2)
        # Layer 1 looks one unit to the right, layer 2 two units, ...; level 1 also looks down; head 7 looks up.
        offsets[..., 0] = number
        offsets[:, 1, :, 1] = 0.5
        offsets[7, :, :, 1] = -3
        attention.sampling_offsets.bias.data = offsets.flatten()
        weights = torch.zeros(HEADS, LEVELS, POINTS)
        weights[:, 2, number] = 5
        attention.attention_weights.bias.data = weights.flatten()
    last = head.prediction.box_embed.layers[-1]
    nn.init.zeros_(last.weight)
    last.bias.data = SHIFT.clone()
    head.queries.boxes_from_masks = False  # random masks fill the image
    return model


def to_fractions(boxes, size):
    """Bring corners in pixels to centre and size as fractions of the padded input, given in pixels."""
    start, end = torch.from_numpy(boxes).double().split(2, -1)
    size = torch.tensor(size).double()
    return torch.cat(((start + end) / 2 / size, (end - start) / size), -1)


# The image of 80 x 50 pixels becomes 128 x 80, padded to 128 x 96: 80 x 60 of its own pixels.
PADDED = (80.0, 60.0)


def test_layers_come_in_order_and_boxes_move_by_the_branch(model):
    views = inspect_layers(model, make_image(), queries=range(30))
    assert [view.layer for view in views] == [-1, 0, 1, 2, 3]
    boxes = [to_fractions(view.boxes, PADDED) for view in views]
    usual = ((boxes[1] > 0.05) & (boxes[1] < 0.95)).all(-1)  # the clamp of 1e-5 is far away
    assert usual.sum() >= 3
    torch.testing.assert_close(
        boxes[0], boxes[1]
    )  # the encoder's proposals are the first references
    for before, after in pairwise(boxes[1:]):
        moved = after.logit() - before.logit()
        torch.testing.assert_close(
            moved[usual], SHIFT.double().expand_as(moved[usual]), atol=1e-3, rtol=0
        )


def test_points_lie_at_the_offsets_from_the_box_before(model):
    views = inspect_layers(model, make_image(), queries=range(30))
    for before, view in pairwise(views[1:]):
        assert view.points.shape == (30, HEADS, LEVELS, POINTS, 2)
        center = (before.boxes[:, :2] + before.boxes[:, 2:]) / 2
        half = (before.boxes[:, 2:] - before.boxes[:, :2]) / 2
        usual = (half > 0.1).all(-1)
        # An offset of as many units as there are points is half a box.
        right = center[:, 0] + half[:, 0] * view.layer / POINTS
        down = center[:, 1] + half[:, 1] * 0.5 / POINTS
        up = center[:, 1] - half[:, 1] * 3 / POINTS
        for head in range(HEADS):
            for level in range(LEVELS):
                y = up if head == 7 else down if level == 1 else center[:, 1]
                for point in range(POINTS):
                    x_y = view.points[usual, head, level, point]
                    assert x_y[:, 0] == pytest.approx(right[usual], abs=0.02)
                    assert x_y[:, 1] == pytest.approx(y[usual], abs=0.02)


def test_weights_are_those_of_the_layer(model):
    views = inspect_layers(model, make_image(), queries=[4])
    for view in views[2:]:
        total = torch.e**5 + LEVELS * POINTS - 1
        weights = view.weights[0]
        assert weights.sum((1, 2)) == pytest.approx(1)
        assert weights[:, 2, view.layer] == pytest.approx(torch.e**5 / total)
        assert weights[:, 0] == pytest.approx(1 / total)


@torch.no_grad()
def test_masks_boxes_and_classes_of_the_last_layer_are_those_of_inference(model, images):
    feats = model.extract_feat(images)
    expected = model.panoptic_head.predict(feats)
    with LayerRecorder(model.panoptic_head) as recorder:
        model.panoptic_head.predict_queries(feats)
    record = recorder.read()
    last = record.layers[-1].decode(record.mask_features)
    for value, other in zip(last, expected, strict=True):
        assert torch.equal(value, other)


@torch.no_grad()
def test_recording_changes_no_bit_of_the_results(model, images):
    before = model(images, mode='tensor')
    with LayerRecorder(model.panoptic_head) as recorder:
        recorded = model(images, mode='tensor')
    after = model(images, mode='tensor')
    assert recorder.read().points
    for values in zip(before, recorded, after, strict=True):
        assert torch.equal(values[0], values[1]) and torch.equal(values[0], values[2])


@torch.no_grad()
def test_nothing_is_computed_or_kept_outside_of_the_context(model, images, monkeypatch):
    calls = []
    choose = DeformableAttention.choose_points

    def count(self, *inputs):
        calls.append(self)
        return choose(self, *inputs)

    monkeypatch.setattr(DeformableAttention, 'choose_points', count)
    num_attentions = sum(isinstance(module, DeformableAttention) for module in model.modules())
    recorder = LayerRecorder(model.panoptic_head)
    model(images, mode='tensor')
    assert len(calls) == num_attentions
    with recorder:
        model(images, mode='tensor')
    assert len(calls) == 2 * num_attentions + 3  # of the three layers of the decoder
    model(images, mode='tensor')
    assert len(calls) == 3 * num_attentions + 3
    assert len(recorder.points) == 3


@torch.no_grad()
def test_the_last_forward_pass_is_recorded_and_one_is_needed(model, images):
    recorder = LayerRecorder(model.panoptic_head)
    with pytest.raises(RuntimeError, match='not called'):
        recorder.read()
    with recorder:
        model(images, mode='tensor')
        model(images[:1], mode='tensor')
    record = recorder.read()
    assert len(record.points) == len(record.weights) == 3
    assert len(record.layers) == 4
    assert {len(points) for points in record.points} == {1}


def test_hooks_are_removed_after_an_error(model, images):
    head = model.panoptic_head
    with pytest.raises(ValueError, match='stop'), LayerRecorder(head) as recorder:
        raise ValueError('stop')
    head.predict(model.extract_feat(images))
    assert recorder.mask_features is None
