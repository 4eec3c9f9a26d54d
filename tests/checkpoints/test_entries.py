"""Every way in which a checkpoint gets into the frameworks refuses configs that could run code."""

import functools
import http.server
import runpy
import sys
import threading
from pathlib import Path

import pytest
import torch
from helpers.attacks import MODULE, make_text, write_checkpoint, write_files
from helpers.originals import config
from mmdet.apis import DetInferencer, init_detector
from mmengine import fileio
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import PretrainedInit
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from mmengine.runner import checkpoint as mmengine_loaders

from mask_dino.checkpoints import CheckpointError, loaders
from mask_dino.checkpoints.io import build_model
from mask_dino.demo.trained import TrainedPredictor
from mask_dino.inspect import load_network
from mask_dino.new_config.base import read_checkpoint_config

ROOT = Path(__file__).parents[2]
LINE = ROOT / 'tests' / 'tools' / 'configs' / 'line.py'
SEMANTIC = ROOT / 'configs' / 'maskdino' / 'maskdino_tiny_shapes-semantic.py'
TINY = ROOT / 'configs' / 'maskdino' / 'maskdino_tiny_shapes.py'
ATTACKS = ['call', 'custom imports', 'function as a model']


@pytest.fixture(scope='module')
def settings():
    settings = config()
    settings._format_python_code = False  # formatting takes a second
    return settings


@pytest.fixture(scope='module')
def state(settings):
    return build_model(settings).state_dict()


@pytest.fixture(params=ATTACKS)
def attack(request, tmp_path, monkeypatch):
    """The text of an attack; the file that it would leave behind is not there in the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    trace = write_files(tmp_path)
    yield make_text(request.param, tmp_path)
    assert not trace.exists()
    assert not [name for name in sys.modules if name.partition('.')[0] == MODULE]


@pytest.fixture
def bad(tmp_path, attack, settings, state):
    """A checkpoint that is good but for the text of an attack, which comes after the config."""
    text = attack if attack.startswith('model') else f'{settings.pretty_text}\n{attack}'
    content = dict(epoch=0, iter=1, cfg=text, config=text)
    hub = dict(log_scalars={}, runtime_info=dict(cfg=text), resumed_keys={})
    torch.save(dict(meta=content, message_hub=hub, state_dict=state), tmp_path / 'bad.pth')
    return str(tmp_path / 'bad.pth')


def refuses():
    return pytest.raises(CheckpointError, match='was refused: the config in')


def test_inferencers(bad, settings):
    with refuses():
        DetInferencer(weights=bad, device='cpu', show_progress=False)
    with refuses():
        DetInferencer(model=settings.copy(), weights=bad, device='cpu', show_progress=False)
    with refuses():
        init_detector(settings.copy(), bad, device='cpu')


def test_semantic_inferencers(bad):
    apis = pytest.importorskip('mmseg.apis')
    with refuses():
        apis.MMSegInferencer(None, weights=bad, device='cpu')
    with refuses():
        apis.MMSegInferencer(Config.fromfile(SEMANTIC), weights=bad, device='cpu')
    with refuses():
        apis.init_model(Config.fromfile(SEMANTIC), bad, device='cpu')
    init_default_scope('mmdet')


def test_loading(bad):
    with refuses():
        load_checkpoint(torch.nn.Linear(1, 1), bad)
    with refuses():
        PretrainedInit(bad)(torch.nn.Linear(1, 1))


def test_runner(bad, tmp_path):
    settings = Config.fromfile(LINE)
    settings.work_dir = str(tmp_path / 'work')
    settings.experiment_name = tmp_path.name
    runner = Runner.from_cfg(settings)
    with refuses():
        runner.load_checkpoint(bad)
    with refuses():
        runner.resume(bad)
    for resume in (True, False):
        runner._has_loaded, runner._load_from, runner._resume = False, bad, resume
        with refuses():
            runner.load_or_resume()


@pytest.mark.parametrize(
    'tool',
    [
        *('train', 'test', 'mmdet_to_maskdino', 'maskdino_to_mmdet', 'dino_to_maskdino'),
        *('export', 'inspect_layers', 'browse_predictions', 'benchmark_fps'),
        *('train_auto', 'pretrain_backbone'),
    ],
)
def test_tools(monkeypatch, tmp_path, attack, tool, capsys):
    bad = write_checkpoint(
        tmp_path / 'bad_training/bad.pth',
        attack,
        'cfg',
        state_dict={'linear.weight': torch.ones(1, 2)},
        optimizer=dict(state={}, param_groups=[]),
    )
    arguments = {
        'train': ['train.py', LINE, '--work-dir', tmp_path / 'work', '--resume', bad],
        'train_auto': ['train.py', LINE, '--work-dir', bad.parent, '--resume'],
        'pretrain_backbone': [
            'misc/pretrain_backbone.py',
            TINY,
            tmp_path / 'bad.pth',
            '--processes=1',
        ],
        'test': ['test.py', LINE, bad, '--work-dir', tmp_path / 'work'],
        'export': ['deployment/export.py', TINY, bad, tmp_path / 'model.onnx'],
        'inspect_layers': ['analysis_tools/inspect_layers.py', TINY, bad, tmp_path / 'image.png'],
        'browse_predictions': ['analysis_tools/browse_predictions.py', TINY, bad],
        'benchmark_fps': ['analysis_tools/benchmark_fps.py', TINY, bad],
    }
    command = arguments.get(tool, [f'model_converters/{tool}.py', bad, tmp_path / 'converted.pth'])
    path, *options = map(str, command)
    monkeypatch.setattr(sys, 'argv', [path, *options])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / 'tools' / path), run_name='__main__')
    printed = capsys.readouterr()
    assert 'was refused: the config in' in f'{end.value.code}{printed.out}{printed.err}'


def test_pages_pictures_and_new_configs(bad):
    with refuses():
        load_network(Config.fromfile(TINY), bad)
    with refuses():
        read_checkpoint_config(Path(bad))
    with refuses():
        TrainedPredictor(Config.fromfile(TINY), bad, 'cpu')


@pytest.mark.parametrize(
    ('prefix', 'reader'),
    [
        ('torchvision://resnet50', 'load_from_torchvision'),
        ('open-mmlab://resnet50', 'load_from_openmmlab'),
        ('mmcls://resnet50', 'load_from_mmcls'),
        ('pavi://resnet50', 'load_from_pavi'),
    ],
)
def test_fixed_sources(monkeypatch, tmp_path, attack, prefix, reader):
    content = dict(meta=dict(cfg=attack), state_dict={})
    monkeypatch.setattr(mmengine_loaders, reader, lambda filename, map_location: content)
    with refuses():
        CheckpointLoader.load_checkpoint(prefix)


def test_urls(monkeypatch, tmp_path, bad):
    """In ``load_from`` of a training with EMAHook, which reads the checkpoint on its own."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=Path(bad).parent)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = Config.fromfile(LINE)
        settings.work_dir = str(tmp_path / 'work')
        settings.experiment_name = tmp_path.name
        settings.load_from = f'http://127.0.0.1:{server.server_port}/bad.pth'
        runner = Runner.from_cfg(settings)
        assert any(isinstance(hook, EMAHook) for hook in runner.hooks)
        with refuses():
            runner.train()
        server.shutdown()


def test_object_stores(monkeypatch, bad):
    monkeypatch.setattr(fileio, 'get', lambda name, backend_args: Path(bad).read_bytes())
    for name in ('s3://bucket/bad.pth', 'cluster:petrel://bucket/bad.pth'):
        with refuses():
            CheckpointLoader.load_checkpoint(name)


def test_every_scheme_of_mmengine_is_taken_over():
    assert {loader.__module__ for loader in CheckpointLoader._schemes.values()} == {
        loaders.__name__
    }
