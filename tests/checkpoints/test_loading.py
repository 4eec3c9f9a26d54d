"""Checkpoints load whoever wrote them; code hidden in them does not run."""

import argparse
import functools
import http.server
import io
import operator
import pickle
import sys
import threading
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint

from mask_dino.checkpoints import (
    CheckpointError,
    load_checkpoint_safely,
    register_loaders,
    safe_types,
)


class Call:
    """Pickles as a call, the way an attack does."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class State:
    """Pickles as a call and a state to set on its result."""

    def __init__(self, function, args, state):
        self.function, self.args, self.state = function, args, state

    def __reduce__(self):
        return self.function, self.args, self.state


def attack(tmp_path):
    """A call that would leave a file behind, and that file."""
    trace = tmp_path / 'trace'
    return Call(io.open, str(trace), 'w'), trace


def training_state():
    """What mmengine's Runner saves, with values of every type that occurs in it."""
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {
        'meta': {
            'epoch': 1,
            'iter': 2,
            'dataset_meta': {'classes': ('a', 'b'), 'palette': [(1, 2, 3)]},
            'seed': 7,
        },
        'state_dict': model.state_dict(),
        'message_hub': {
            'log_scalars': {'train/loss': HistoryBuffer([3.0, 2.0, 1.0], [1, 1, 2])},
            'runtime_info': {
                'best_score': np.float64(0.5),
                'flag': np.bool_(True),
                'map': np.arange(6).reshape(2, 3),
            },
            'resumed_keys': {'train/loss': True},
        },
        'optimizer': optimizer.state_dict(),
        'param_schedulers': [torch.optim.lr_scheduler.MultiStepLR(optimizer, [1]).state_dict()],
    }


def rewritten(path, old, new):
    """A copy of a torch file whose pickle says `new` in place of `old`."""
    copy = path.with_name(f'rewritten_{path.name}')
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, 'w', zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data.replace(old, new) if name.endswith('data.pkl') else data)
    return copy


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('core', [b'numpy.core.', b'numpy._core.'])
def test_training_state_survives(tmp_path, zipped, core):
    state, path = training_state(), tmp_path / 'state.pth'
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    if zipped:
        path = rewritten(path, b'numpy._core.' if b'_' not in core else b'numpy.core.', core)
    loaded = load_checkpoint_safely(path)
    assert loaded['meta'] == state['meta']
    assert all(
        torch.equal(loaded['state_dict'][name], value)
        for name, value in state['state_dict'].items()
    )
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert (buffer.mean(), buffer.min(), buffer.max(), buffer.current()) == (1.5, 1.0, 3.0, 1.0)
    assert buffer.statistics('mean', 1) == 0.5
    info = loaded['message_hub']['runtime_info']
    assert isinstance(info['best_score'], np.float64)
    assert info['best_score'] == 0.5
    assert info['flag'] == np.True_
    assert info['map'].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded['optimizer']['state'][0]['step'] == state['optimizer']['state'][0]['step']
    assert loaded['param_schedulers'] == state['param_schedulers']


@pytest.mark.parametrize('code', ['?', 'i1', 'u1', 'i2', 'i4', 'i8', 'u8', 'f2', 'f4', 'f8', 'c8'])
def test_arrays_of_numbers_survive(tmp_path, code):
    array = np.arange(6).reshape(2, 3).astype(code)
    torch.save(
        {'array': array, 'fortran': np.asfortranarray(array), 'one': array[1, 2]},
        tmp_path / 'array.pth',
    )
    loaded = load_checkpoint_safely(tmp_path / 'array.pth')
    assert loaded['array'].dtype == loaded['one'].dtype == array.dtype
    assert np.array_equal(loaded['array'], array)
    assert np.array_equal(loaded['fortran'], array)
    assert loaded['one'] == array[1, 2]


@pytest.mark.parametrize(
    'save', [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_options_of_a_command_line_survive(tmp_path, save):
    """The original DINO saves them beside the weights."""
    options = argparse.Namespace(lr=1e-4, backbone='resnet50', lr_drop_list=[33, 45])
    save({'epoch': 11, 'args': options}, tmp_path / 'checkpoint.pth')
    assert load_checkpoint_safely(tmp_path / 'checkpoint.pth')['args'] == options


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_of_arrays_become_tensors(tmp_path, protocol):
    weights = {'conv.weight': np.arange(6, dtype=np.float32).reshape(2, 3), 'steps': np.array([3])}
    path = tmp_path / 'model_final.pkl'
    path.write_bytes(
        pickle.dumps({'model': weights, '__author__': 'somebody', 'step': np.int64(5)}, protocol)
    )
    loaded = load_checkpoint_safely(path)
    assert loaded['__author__'] == 'somebody'
    assert loaded['step'] == 5
    assert all(
        torch.equal(loaded['model'][name], torch.tensor(value)) for name, value in weights.items()
    )
    loaded['model']['steps'] += 1  # writable, unlike the buffer it came from


def test_plain_pickles_of_python_2_become_tensors(tmp_path):
    path = tmp_path / 'python2.pkl'
    # What Python 2 wrote for {'a': numpy.array([1., 2.], numpy.float32)}: byte strings where Python 3 has bytes.
    path.write_bytes(
        b'\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy'
        b'\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08'
        b'\x00\x00\x80?\x00\x00\x00@tbs.'
    )
    assert load_checkpoint_safely(path)['a'].tolist() == [1.0, 2.0]


@pytest.mark.parametrize('kind', ['zip', 'legacy', *range(pickle.HIGHEST_PROTOCOL + 1)])
def test_code_is_refused_and_not_run(tmp_path, kind):
    call, trace = attack(tmp_path)
    path = tmp_path / 'attack.pth'
    content = {
        'state_dict': {'weight': torch.ones(1) if kind in ('zip', 'legacy') else 1},
        'hidden': call,
    }
    if kind in ('zip', 'legacy'):
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    else:
        path.write_bytes(pickle.dumps(content, kind))
    with pytest.raises(CheckpointError) as error:
        load_checkpoint_safely(path)
    assert str(path) in str(error.value)
    if kind not in (0, 1):  # these have no header, and so are no checkpoints
        assert all(text in str(error.value) for text in ('io.open', 'refused', 'Remedy'))
    assert not trace.exists()
    pickle.loads(pickle.dumps(call)).close()
    assert trace.exists(), 'the attack itself does not work: the test shows nothing'


@pytest.mark.parametrize(
    'save', [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
@pytest.mark.parametrize(
    ('value', 'found'),
    [
        (Call(getattr, HistoryBuffer, '__init__'), 'getattr'),
        (Call(getattr, np.ndarray, 'tofile'), 'getattr'),
        (np.array([{}], dtype=object), "dtype('O8')"),
        (np.array(['text']), "dtype('U4')"),
        (np.zeros(1, [('field', 'f4')]), "dtype('V4')"),
        (Call(np.dtype, '>f8'), "dtype('>f8')"),
        (operator.attrgetter('mean'), 'operator.attrgetter'),
        (functools.partial(print), 'functools.partial'),
        (np.load, 'load'),
        (torch.nn.Linear, 'torch.nn.modules.linear.Linear'),
    ],
)
def test_what_no_checkpoint_needs_is_named(tmp_path, save, value, found):
    path = tmp_path / 'odd.pth'
    save({'state_dict': {}, 'odd': value}, path)
    with pytest.raises(CheckpointError, match='was refused') as error:
        load_checkpoint_safely(path)
    assert found in str(error.value)


@pytest.mark.parametrize(
    'save', [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_forged_flags_of_a_dtype_are_ignored(tmp_path, save):
    forged = State(np.dtype, ('f8', False, True), (3, '<', None, None, None, -1, -1, 63))
    save({'dtype': forged}, tmp_path / 'forged.pth')
    assert (
        load_checkpoint_safely(tmp_path / 'forged.pth')['dtype'].flags == np.dtype('f8').flags == 0
    )


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'plain'])
@pytest.mark.parametrize('part', [0.0, 0.003, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_named(tmp_path, kind, part):
    path = tmp_path / 'short.pth'
    if kind == 'plain':
        path.write_bytes(pickle.dumps({'weight': np.ones(5000)}))
    else:
        torch.save({'weight': torch.ones(5000)}, path, _use_new_zipfile_serialization=kind == 'zip')
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CheckpointError, match='damaged') as error:
        load_checkpoint_safely(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('content', [[1], torch.ones(2), 'text'])
def test_anything_but_a_dictionary_is_refused(tmp_path, content):
    torch.save(content, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match='not a dictionary'):
        load_checkpoint_safely(tmp_path / 'odd.pth')


def test_other_files_are_no_checkpoints(tmp_path):
    (tmp_path / 'page.pth').write_text('<!DOCTYPE html>')
    with pytest.raises(CheckpointError, match=r'page\.pth is neither'):
        load_checkpoint_safely(tmp_path / 'page.pth')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth does not exist'):
        load_checkpoint_safely(tmp_path / 'nowhere.pth')


def test_safetensors_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / 'w.safetensors').write_bytes(b'\x02\0\0\0\0\0\0\0{}')
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(CheckpointError, match='pip install safetensors'):
        load_checkpoint_safely(tmp_path / 'w.safetensors')


def test_safetensors(tmp_path):
    files = pytest.importorskip('safetensors.torch', reason='safetensors is optional')
    files.save_file({'weight': torch.ones(2)}, tmp_path / 'w.safetensors')
    assert load_checkpoint_safely(tmp_path / 'w.safetensors')['weight'].tolist() == [1, 1]


def test_mmengine_reads_through_it(tmp_path):
    model, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    torch.save(
        {'state_dict': model.state_dict(), **training_state()['meta']}, tmp_path / 'good.pth'
    )
    load_checkpoint(other, str(tmp_path / 'good.pth'), map_location='cpu')
    assert torch.equal(other.weight, model.weight)
    call, trace = attack(tmp_path)
    torch.save({'state_dict': model.state_dict(), 'hidden': call}, tmp_path / 'bad.pth')
    with pytest.raises(CheckpointError, match='refused'):
        load_checkpoint(other, str(tmp_path / 'bad.pth'))
    assert not trace.exists()


def test_urls_are_read_through_it_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    site = tmp_path / 'site'
    site.mkdir()
    call, trace = attack(tmp_path)
    torch.save({'weight': torch.ones(1)}, site / 'good.pth')
    torch.save({'weight': torch.ones(1), 'hidden': call}, site / 'bad.pth')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}'
        assert CheckpointLoader.load_checkpoint(f'{address}/good.pth')['weight'] == 1
        with pytest.raises(CheckpointError, match=r'bad\.pth was refused'):
            CheckpointLoader.load_checkpoint(f'{address}/bad.pth')
        (site / 'good.pth').unlink()
        assert CheckpointLoader.load_checkpoint(f'{address}/good.pth')['weight'] == 1
        server.shutdown()
    assert not trace.exists()


def test_files_of_one_name_from_two_addresses_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    for number, folder in enumerate(('a', 'b')):
        (tmp_path / folder).mkdir()
        torch.save({'weight': torch.tensor(float(number))}, tmp_path / folder / 'model.pth')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}'
        for _ in range(2):  # downloaded, and then from the cache
            for number, part in enumerate(('a/model.pth', 'b/model.pth')):
                assert CheckpointLoader.load_checkpoint(f'{address}/{part}')['weight'] == number
        with pytest.raises(CheckpointError, match=r'b/none\.pth cannot be downloaded: .*404'):
            CheckpointLoader.load_checkpoint(f'{address}/b/none.pth')
        server.shutdown()
    with pytest.raises(CheckpointError, match=r'cannot be downloaded: .*give its path'):
        CheckpointLoader.load_checkpoint(f'{address}/c/other.pth')


def test_a_file_that_torch_has_downloaded_is_taken_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cached = tmp_path / 'hub/checkpoints/model.pth'
    cached.parent.mkdir(parents=True)
    torch.save({'weight': torch.ones(1)}, cached)
    assert CheckpointLoader.load_checkpoint('https://nowhere.invalid/model.pth')['weight'] == 1


@pytest.mark.parametrize('key', ['meta', 'state_dict', 'message_hub'])
@pytest.mark.parametrize('value', [[1], 'text', 3, torch.ones(2)], ids=str)
def test_entries_that_are_no_dictionaries_are_named(tmp_path, key, value):
    torch.save({'meta': {}, 'state_dict': {}} | {key: value}, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=rf"odd\.pth holds a \w+ under '{key}'"):
        load_checkpoint_safely(tmp_path / 'odd.pth')


def test_states_without_names_are_refused(tmp_path):
    for content in ({1: torch.ones(2)}, {'state_dict': {1: torch.ones(2)}}, {'state_dict': None}):
        torch.save(content, tmp_path / 'weights.pth')
        with pytest.raises(CheckpointError, match=r'names that are no text, such as 1|a NoneType'):
            load_checkpoint_safely(tmp_path / 'weights.pth')


def test_registering_again_changes_nothing():
    register_loaders()
    before = set(torch.serialization.get_safe_globals())
    register_loaders()
    assert set(torch.serialization.get_safe_globals()) == before


def test_stand_ins_have_the_names_that_old_versions_of_torch_look_for():
    for path, thing in safe_types.MMENGINE.items():
        renamed = safe_types._rename(thing, path)
        assert f'{renamed.__module__}.{renamed.__qualname__}' == path
    renamed = [safe_types._rename(thing, path) for path, thing in safe_types.MMENGINE.items()]
    known = torch.serialization.get_safe_globals()
    try:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(renamed)
        content = io.BytesIO()
        torch.save(training_state(), content)
        content.seek(0)
        assert (
            torch.load(content, weights_only=True)['message_hub']['runtime_info']['best_score']
            == 0.5
        )
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(known)
