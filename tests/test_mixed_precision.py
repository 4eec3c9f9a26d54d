"""A short training in bfloat16 follows one in float32."""

import pytest
import torch
from helpers.tiny import tiny_config
from mmengine.config import Config

from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.step import Subject

STEPS = 8


def losses(amp):
    """Total loss of every step, on batches that repeat, so that it falls."""
    optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
    config = Config(dict(default_scope='mmdet', model=tiny_config(), optim_wrapper=optim_wrapper))
    subject = Subject(config, torch.device('cpu'), amp)
    subject.model.train()
    found = []
    for step in range(STEPS):
        torch.manual_seed(step)
        data = subject.make_batch(Load(64, 96, 3, 2), subject.classes, seed=step % 2)
        found.append(subject.model.train_step(data, subject.optim_wrapper)['loss'].item())
    return torch.tensor(found)


def test_losses_in_bfloat16_follow_those_in_float32():
    exact, rounded = losses(None), losses('bf16')
    assert exact[-2:].mean() < 0.9 * exact[:2].mean()  # or following would be no feat
    assert not rounded.equal(exact)
    deviation = (rounded / exact - 1).abs()
    # Rounding changes which query an object is assigned to: one step may deviate more than the mean.
    assert deviation.mean() < 0.03
    assert deviation.max() < 0.1


@pytest.mark.parametrize('mode', ['loss', 'tensor'])
def test_what_leaves_the_network_is_finite(mode):
    subject = Subject(
        Config(dict(default_scope='mmdet', model=tiny_config())), torch.device('cpu'), 'bf16'
    )
    data = subject.model.data_preprocessor(
        subject.make_batch(Load(64, 96, 3, 2), subject.classes, 0), True
    )
    subject.model.train(mode == 'loss')
    with torch.autocast('cpu', torch.bfloat16):
        found = subject.model(**data, mode=mode)
    values = found.values() if mode == 'loss' else found
    assert all(value.isfinite().all() for value in values)
    if mode == 'loss':
        assert {value.dtype for value in found.values()} == {torch.float32}
