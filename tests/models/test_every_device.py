"""The network and its losses run on any device: on the meta device, a tensor that is left on the CPU shows.

Most operations refuse tensors of two devices. Some, indexing among them, accept a CPU tensor and wait for its transfer.
A dispatch mode finds these.
"""

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from helpers.tiny import NUM_CLASSES, SIZE, build, random_targets
from mmdet.structures import DetDataSample
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mask_dino.models.matcher import HybridMatcher
from mask_dino.structures import QueryPredictions

CROSS_ENTROPY = dict(
    _delete_=True,
    type='CrossEntropyLoss',
    loss_weight=4.0,
    class_weight=[1.0] * NUM_CLASSES + [0.1],
)
NO_MASKS = dict(
    loss_mask=None,
    loss_dice=None,
    matcher=dict(num_points=0, match_costs=[dict(type='FocalLossCost', weight=4.0, eps=1e-8)]),
)
TASKS = dict(
    instance={},
    detection=dict(queries=dict(boxes_from_masks=False), criterion=NO_MASKS),
    panoptic=dict(num_things_classes=3, num_stuff_classes=2, criterion=dict(decouple_stuff=True)),
    semantic=dict(
        num_things_classes=0,
        num_stuff_classes=NUM_CLASSES,
        queries=dict(_delete_=True, type='LearnedQueries', num_queries=10),
        criterion=dict(loss_cls=CROSS_ENTROPY),
    ),
)


class MixedDevices(TorchDispatchMode):
    """Records the operations that get tensors of the meta device together with CPU tensors that are no scalars."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        on_device = any(x.is_meta for x in tensors)
        on_host = any(not x.is_meta and x.ndim for x in tensors)
        if on_device and on_host and 'copy' not in operation.__name__:
            self.found.append(operation.__name__)
        return operation(*args, **(kwargs or {}))


@pytest.fixture
def on_meta(monkeypatch):
    """Stand in for what needs values (the assignment) or a real device (autocast)."""
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: nullcontext())
    monkeypatch.setattr('mask_dino.models.matcher._move_to_host', lambda costs: costs)
    monkeypatch.setattr(HybridMatcher, 'replace_nonfinite', lambda self, costs: costs)
    monkeypatch.setattr(HybridMatcher, 'assign', staticmethod(assign_in_order))


def assign_in_order(costs, device):
    sets, num_queries, num_targets = costs.shape
    assert costs.device == device
    index = torch.arange(min(num_queries, num_targets), device=device).expand(sets, -1)
    return index, index


def model_and_batch(task, generator):
    """The model of a task, images and targets, all on the meta device."""
    targets = []
    for count in (2, 0):
        target = random_targets(count, generator)
        known = torch.ones(SIZE, dtype=torch.bool)
        targets.append(target._make(x.to('meta') for x in (*target[:3], known)))
    return (
        build(**deepcopy(TASKS[task])).to('meta'),
        torch.empty(2, 3, *SIZE, device='meta'),
        targets,
    )


@pytest.mark.parametrize('task', TASKS)
def test_a_training_step_stays_on_its_device(task, generator, on_meta):
    model, images, targets = model_and_batch(task, generator)
    with MixedDevices() as mode:
        losses = model.panoptic_head.loss(model.extract_feat(images), targets)
        sum(losses.values()).backward()
    assert losses and all(loss.is_meta for loss in losses.values())
    assert all(p.grad.is_meta for p in model.parameters() if p.requires_grad)
    assert mode.found == []


@pytest.mark.parametrize('task', TASKS)
def test_predictions_stay_on_their_device(task, generator):
    model, images, _ = model_and_batch(task, generator)
    with torch.no_grad(), MixedDevices() as mode:
        predictions = model.eval()(images, mode='tensor')
    assert all(x.is_meta for x in predictions)
    assert mode.found == []


def keep_all(values, return_inverse):
    """Stand in for ``unique``, whose number of values the meta device does not know."""
    return values, torch.arange(len(values), device=values.device)


@pytest.mark.parametrize('rescale', [False, True])
def test_instances_and_semantic_maps_are_made_on_the_device(rescale, monkeypatch):
    """Panoptic maps are not tested: how many segments there are depends on values."""
    head = build(num_things_classes=3, num_stuff_classes=2).panoptic_fusion_head
    head.test_cfg.update(panoptic_on=False, semantic_on=True, rank_things_alone=True)
    # Meta tensors have no values, so there is nothing to look at.
    monkeypatch.setattr('mask_dino.postprocess.finite._is_finite', lambda values: True)
    monkeypatch.setattr(torch.Tensor, 'unique', keep_all)
    shapes = ((1, 20, NUM_CLASSES), (1, 20, 4), (1, 20, 16, 24))
    predictions = QueryPredictions(*(torch.empty(shape, device='meta') for shape in shapes))
    sample = DetDataSample(
        metainfo=dict(batch_input_shape=SIZE, img_shape=(60, 90), ori_shape=(120, 180))
    )
    with torch.no_grad(), MixedDevices() as mode:
        [results] = head.predict(predictions, [sample], rescale)
    assert results['ins_results'].masks.is_meta and results['sem_results'].sem_seg.is_meta
    assert mode.found == []


def test_a_tensor_that_is_left_on_the_cpu_shows():
    with MixedDevices() as mode:
        torch.empty(3, device='meta')[torch.zeros(2, dtype=torch.long)]
    assert mode.found == ['index.Tensor']
    with pytest.raises(RuntimeError, match='device'):
        torch.empty(3, device='meta') + torch.zeros(3)
