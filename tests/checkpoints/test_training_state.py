"""A checkpoint from which no training can go on is refused before any data are read, with the reason."""

import copy
from typing import Any

import pytest

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.training_state import IncompleteError, check_training_state
from mask_dino.hooks.resume_state import ResumeState

GOOD: dict[str, Any] = dict(
    meta=dict(iter=4, epoch=0),
    message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
    optimizer=dict(state={}, param_groups=[]),
    state_dict={},
)


def test_a_whole_state_passes():
    check_training_state(GOOD, 'iter_4.pth')


@pytest.mark.parametrize('key', ['meta', 'message_hub', 'optimizer'])
def test_weights_without_a_state_are_called_so(key):
    weights = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(IncompleteError, match=rf'iter_4\.pth holds weights, but .*{key}'):
        check_training_state(weights, 'iter_4.pth')


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('meta', {}),
        ('meta', None),
        ('meta', dict(iter=4)),
        ('meta', dict(iter='4', epoch=0)),
        ('meta', dict(iter=-4, epoch=0)),
        ('message_hub', {}),
        ('message_hub', None),
        ('optimizer', {}),
        ('optimizer', [1]),
    ],
    ids=str,
)
def test_a_state_that_mmengine_cannot_resume_is_refused(key, value):
    damaged = copy.deepcopy(GOOD) | {key: value}
    with pytest.raises(CheckpointError, match=r'iter_4\.pth .*another checkpoint'):
        check_training_state(damaged, 'iter_4.pth')


def test_what_later_versions_save_beside_is_left_out():
    state = dict(batch_size=3, outdated=['a.pth'], something=1)
    assert ResumeState.from_checkpoint(dict(resume_state=state)) == ResumeState(
        batch_size=3, outdated=['a.pth']
    )
    assert ResumeState.from_checkpoint(dict(resume_state='text')) == ResumeState()
