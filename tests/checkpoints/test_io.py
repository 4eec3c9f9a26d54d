"""Original checkpoints are read in every form they come in, and converted ones are whole or not there."""

import pickle

import numpy as np
import pytest
import torch
from helpers.originals import CLASSES, config, state_for
from mmdet.apis import init_detector

from mask_dino import __version__
from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.io import build_model, make_checkpoint, read_original, write_checkpoint
from mask_dino.checkpoints.maskdino import from_original

STATE = {'weight': torch.arange(6.0).view(2, 3), 'index': torch.arange(3)}


def save(value, path):
    torch.save(value, path)
    return path


def save_pickle(value, path):
    path.write_bytes(pickle.dumps(value))
    return path


def arrays(state):
    return {name: value.numpy() for name, value in state.items()}


def assert_read(path):
    state = read_original(path)
    assert state.keys() == STATE.keys()
    for name, value in state.items():
        assert value.dtype == STATE[name].dtype and value.equal(STATE[name])


def test_forms_of_files(tmp_path):
    assert_read(save(STATE, tmp_path / 'a.pth'))
    assert_read(
        save({'model': STATE, 'optimizer': {'lr': 0.1}, 'iteration': 7}, tmp_path / 'b.pth')
    )
    assert_read(save({'model': arrays(STATE)}, tmp_path / 'c.pth'))
    assert_read(
        save_pickle(
            {'model': arrays(STATE), '__author__': 'x', 'matching_heuristics': True},
            tmp_path / 'd.pkl',
        )
    )
    assert_read(save_pickle(arrays(STATE), tmp_path / 'e.pkl'))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_weights_become_float32(tmp_path, dtype):
    assert_read(save({'model': {**STATE, 'weight': STATE['weight'].to(dtype)}}, tmp_path / 'a.pth'))


def test_half_precision_arrays(tmp_path):
    half = {**arrays(STATE), 'weight': STATE['weight'].numpy().astype(np.float16)}
    assert_read(save_pickle({'model': half}, tmp_path / 'a.pkl'))


@pytest.mark.parametrize(
    'value', [{}, {'model': {}}, {'model': [1, 2]}, {'model': {'depth': 50}}, {'model': 'r50'}]
)
def test_no_weights(tmp_path, value):
    path = save(value, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='no weights of the original') as caught:
        read_original(path)
    assert str(path) in str(caught.value)


def test_converted_already(tmp_path):
    path = save({'meta': {}, 'state_dict': STATE}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='needs no conversion'):
        read_original(path)


class Attack:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('save', [save, save_pickle])
def test_code_does_not_run(tmp_path, save):
    path = save(
        {'model': {**arrays(STATE), 'weight': Attack(tmp_path / 'trace')}}, tmp_path / 'a.pth'
    )
    with pytest.raises(CheckpointError, match='refused'):
        read_original(path)
    assert not (tmp_path / 'trace').exists()


def test_detector_from_a_converted_checkpoint(tmp_path):
    settings = config()
    model = build_model(settings)
    converted = from_original(state_for(model), model)
    path = tmp_path / 'new' / 'folder' / 'model.pth'
    write_checkpoint(make_checkpoint(settings, converted.state, tmp_path / 'original.pth'), path)
    meta = torch.load(path, weights_only=True)['meta']
    assert meta['converted_from'] == 'original.pth' and meta['mask_dino_version'] == __version__
    assert "type='MaskDINO'" in meta['cfg']
    detector = init_detector(settings, str(path), device='cpu')
    assert detector.dataset_meta['classes'] == CLASSES
    for name, value in detector.state_dict().items():
        assert value.equal(converted.state[name]), name


@pytest.mark.parametrize(
    'error', [OSError(28, 'No space left'), RuntimeError('enforce fail'), KeyboardInterrupt()]
)
@pytest.mark.parametrize('exists', [False, True])
def test_writing_that_fails_leaves_nothing(tmp_path, monkeypatch, exists, error):
    path = tmp_path / 'model.pth'
    if exists:
        path.write_text('old')

    def broken(checkpoint, file):
        file.write(b'half')
        raise error

    monkeypatch.setattr(torch, 'save', broken)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError):
        write_checkpoint({}, path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [
        ('model.pth', 'old')
    ] * exists


def test_writing_replaces(tmp_path):
    path = tmp_path / 'model.pth'
    for number in (1, 2):
        write_checkpoint({'state_dict': {'x': torch.tensor(number)}}, path)
    assert torch.load(path, weights_only=True) == {'state_dict': {'x': torch.tensor(2)}}
    assert list(tmp_path.iterdir()) == [path]
