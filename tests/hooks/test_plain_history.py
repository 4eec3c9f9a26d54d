"""A checkpoint of a training can be read by torch alone, and a resumed training has its history again."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mask_dino.hooks import PlainHistoryHook


@pytest.fixture
def hub() -> MessageHub:
    made = MessageHub.get_instance('plain history')
    made.log_scalars.clear()
    for step in range(1, 5):
        made.update_scalar('train/loss', 1 / step, count=step)
        made.update_scalar('train/objects', step)
    made.update_info('eta', np.float64(1.5))
    made.update_info('cfg', 'model = dict()')
    return made


def load_without_our_types(path) -> dict:
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        return torch.load(path, weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)


def test_torch_reads_what_was_saved_and_the_history_comes_back(hub, tmp_path):
    path, hook = tmp_path / 'iter_4.pth', PlainHistoryHook()
    checkpoint = dict(message_hub=hub.state_dict())
    torch.save(checkpoint, path)
    with pytest.raises(pickle.UnpicklingError):  # the reason for the hook
        load_without_our_types(path)
    hook.before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, path)
    loaded = load_without_our_types(path)
    assert loaded['message_hub']['runtime_info']['cfg'] == 'model = dict()'
    hook.after_load_checkpoint(None, loaded)
    resumed = MessageHub.get_instance('resumed history')
    resumed.load_state_dict(loaded['message_hub'])
    assert resumed.log_scalars.keys() == hub.log_scalars.keys()
    for name, buffer in hub.log_scalars.items():
        for saved, original in zip(resumed.log_scalars[name].data, buffer.data, strict=True):
            np.testing.assert_array_equal(saved, original)
            assert saved.dtype == original.dtype
    assert resumed.get_scalar('train/loss').mean(2) == hub.get_scalar('train/loss').mean(2)


def test_the_training_keeps_its_own_history(hub):
    checkpoint = dict(message_hub=hub.state_dict())
    PlainHistoryHook().before_save_checkpoint(None, checkpoint)
    assert all(isinstance(buffer, HistoryBuffer) for buffer in hub.log_scalars.values())
    hub.update_scalar('train/loss', 2.0)
    assert len(checkpoint['message_hub']['log_scalars']['train/loss']['values']) == 4


def test_older_checkpoints_and_such_without_history_are_left_as_they_are(hub):
    old = dict(message_hub=hub.state_dict())
    PlainHistoryHook().after_load_checkpoint(None, old)
    assert isinstance(old['message_hub']['log_scalars']['train/loss'], HistoryBuffer)
    for plain in (dict(state_dict={}), dict(message_hub=None)):
        before = dict(plain)
        PlainHistoryHook().after_load_checkpoint(None, plain)
        PlainHistoryHook().before_save_checkpoint(None, plain)
        assert plain == before
