"""What a GPU computes is what a CPU computes; the environment variable TEST_DEVICE chooses the device.

On a machine without a GPU these tests are skipped, unless TEST_DEVICE=cpu asks for a dry run.
"""

import os
from copy import deepcopy

import pytest
import torch
from helpers.tiny import NUM_CLASSES, SIZE, build, random_targets
from mmdet.structures import DetDataSample
from mmengine.config import Config
from models.test_every_device import TASKS
from test_distributed import fixed_points

from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.measure import Case, measure
from mask_dino.benchmarks.step import TEST, TRAIN, Subject
from mask_dino.ops.grid_sampling import sample_grid
from mask_dino.structures import QueryPredictions, Targets

DEVICE = torch.device(os.environ.get('TEST_DEVICE', 'cuda'))
pytestmark = pytest.mark.skipif(
    DEVICE.type == 'cuda' and not torch.cuda.is_available(), reason='needs a GPU'
)


@pytest.fixture(autouse=True)
def exact_float32(monkeypatch):
    """Convolutions round to 10 bits by default."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def same_points(num_points, device, known=None):
    """Points that do not depend on the device."""
    return fixed_points(num_points, device, known).to(device)


def move_points_off_the_grid(model):
    """A new model samples at centres of pixels, where the gradient of a location jumps with rounding."""
    for name, parameter in model.named_parameters():
        if name.endswith('sampling_offsets.bias'):
            parameter.data += 0.3


def is_zero_but_for_rounding(name):
    """A group norm takes the biases of the convolutions before it away again."""
    return 'input_convs' in name and name.endswith('conv.bias')


def train_once(task, device, monkeypatch):
    """Losses and gradients of a step without randomness."""
    monkeypatch.setattr('mask_dino.models.matcher.random_points', same_points)
    monkeypatch.setattr('mask_dino.ops.points.random_points', same_points)
    head = deepcopy(TASKS[task]) | dict(denoising=dict(noise_scale=0.0))
    model = build(**head).to(device).train()
    move_points_off_the_grid(model)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *SIZE, generator=generator).to(device)
    targets = [random_targets(count, generator) for count in (3, 1)]
    targets = [Targets(*(x.to(device) for x in target[:3])) for target in targets]
    losses = model.panoptic_head.loss(model.extract_feat(images), targets)
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients


@pytest.mark.parametrize('task', TASKS)
def test_a_training_step_has_the_losses_and_gradients_of_the_cpu(task, monkeypatch):
    ours, gradients = train_once(task, DEVICE, monkeypatch)
    expected, expected_gradients = train_once(task, torch.device('cpu'), monkeypatch)
    assert ours.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(ours[name].cpu(), loss, rtol=1e-3, atol=1e-4, msg=name)
    assert gradients.keys() == expected_gradients.keys()
    total = sum(gradient.norm() for gradient in expected_gradients.values())
    for name, gradient in expected_gradients.items():
        error = (gradients[name].cpu() - gradient).norm()
        if is_zero_but_for_rounding(name):
            assert error <= 1e-5 * total, name
        else:
            assert error <= 1e-2 * gradient.norm() + 1e-4, name


def test_results_are_those_of_the_cpu(generator):
    model = build(num_things_classes=3, num_stuff_classes=2).eval()
    head = model.panoptic_fusion_head
    head.test_cfg.update(panoptic_on=True, semantic_on=True, object_mask_thr=0.5)
    logits = torch.randn(1, 20, NUM_CLASSES, generator=generator) * 3
    boxes = torch.rand(1, 20, 4, generator=generator) / 2 + 0.1
    masks = torch.randn(1, 20, 16, 24, generator=generator) * 5
    meta = dict(batch_input_shape=SIZE, img_shape=(60, 90), ori_shape=(120, 180))
    found = []
    for device in (DEVICE, torch.device('cpu')):
        predictions = QueryPredictions(*(x.to(device) for x in (logits, boxes, masks)))
        [results] = head.predict(predictions, [DetDataSample(metainfo=meta)], True)
        found.append(results)
    ours, expected = found
    assert ours['ins_results'].labels.cpu().equal(expected['ins_results'].labels)
    for name in ('pan_results', 'sem_results'):
        agreement = ours[name].sem_seg.cpu() == expected[name].sem_seg
        assert agreement.float().mean() > 0.999
    masks = ours['ins_results'].masks.cpu() == expected['ins_results'].masks
    assert masks.float().mean() > 0.999


@pytest.mark.parametrize('amp', [None, 'bf16', 'fp16'])
def test_steps_are_finite_and_measured_in_every_precision(amp):
    if amp == 'fp16' and DEVICE.type == 'cpu':
        pytest.skip('float16 needs a GPU')
    subject = Subject(Config.fromfile('configs/maskdino/maskdino_tiny_shapes.py'), DEVICE, amp)
    cases = [Case('tiny', mode, Load(64, 96, 3, 2)) for mode in (TRAIN, TEST)]
    for result in measure(dict(tiny=subject), cases, 2):
        assert min(sum(step.values()) for step in result.parts) > 0
        assert result.memory is None or result.memory >= 0
    assert all(parameter.isfinite().all() for parameter in subject.model.parameters())


def test_a_device_without_the_kernel_trains_with_the_same_losses(monkeypatch):
    """As with an mmcv that was built without the compiler of the device."""
    expected, _ = train_once('instance', DEVICE, monkeypatch)
    called = []

    def portable(module, values, memory, locations, weights):
        called.append(values.device.type)
        return sample_grid(values, memory.sizes, locations, weights)

    monkeypatch.setattr('mask_dino.ops.deformable_attention.DeformableAttention.sample', portable)
    ours, _ = train_once('instance', DEVICE, monkeypatch)
    assert set(called) == {DEVICE.type}
    for name, loss in expected.items():
        torch.testing.assert_close(ours[name], loss, rtol=1e-3, atol=1e-4, msg=name)
