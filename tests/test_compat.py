"""Configs and tools are found where the package is installed, and its metafiles say what the configs say."""

import importlib.util
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from mmdet.apis import det_inferencer
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint

from mask_dino import compat

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs' / 'maskdino'
META = yaml.safe_load((ROOT / 'projects' / 'mask_dino' / 'metafile.yml').read_text())
SOURCES = (
    'setup.py',
    'setup.cfg',
    'pyproject.toml',
    'MANIFEST.in',
    'README.md',
    'LICENSE',
    'requirements.txt',
)
REPOSITORY = 'https://example.org/owner/mask_dino'
FOLDERS = ('mask_dino', 'configs', 'tools', 'requirements')
SCRIPT = """
from mmengine.config import Config
from mmengine.hub import get_config
import mask_dino
from mask_dino import compat
compat.register_config_prefix()
assert mask_dino.__file__.startswith({site!r}), mask_dino.__file__
hub = get_config('mask_dino::maskdino/maskdino_tiny_shapes.py')
base = Config.fromfile('mine.py')
assert hub.model == base.model and base.model.type == 'MaskDINO', base.model
print(compat.find_root())
"""


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A folder in which the wheel is installed, built from a copy that no earlier build has touched."""
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('site')
    for name in (*SOURCES, 'model-index.yml'):
        shutil.copy(ROOT / name, source)
    project = (source / 'pyproject.toml').read_text()
    urls = f'[project.urls]\nRepository = "{REPOSITORY}"\n'
    (source / 'pyproject.toml').write_text(project.replace('[project.urls]\n', urls))
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__', '.mim')
        )
    (source / 'projects' / 'mask_dino').mkdir(parents=True)
    shutil.copy(ROOT / 'projects' / 'mask_dino' / 'metafile.yml', source / 'projects' / 'mask_dino')
    pip = [
        sys.executable,
        '-m',
        'pip',
        'install',
        '-q',
        '--no-deps',
        '--no-build-isolation',
        '--no-index',
    ]
    subprocess.run([*pip, '--target', str(target), str(source)], check=True)
    return target


def python(site, *arguments, **options):
    """Run Python with the installed package before any other; return what it prints."""
    environment = dict(PATH='/usr/bin:/bin', PYTHONPATH=str(site), OMP_NUM_THREADS='1')
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder):
    """The names of a folder's files, compiled ones aside."""
    return {path.relative_to(folder) for path in folder.rglob('*.*') if path.suffix != '.pyc'}


def test_a_wheel_carries_configs_tools_and_metafiles(site):
    carried = site / 'mask_dino' / '.mim'
    for folder in ('configs', 'tools'):
        left_out = ('env.py', 'dev', 'make_demo.py', 'demo_page.py')
        assert files(carried / folder) == {
            path for path in files(ROOT / folder) if not {*path.parts} & {*left_out}
        }
    index = yaml.safe_load((carried / 'model-index.yml').read_text())
    models = [
        m
        for path in index['Import']
        for m in yaml.safe_load((carried / path).read_text())['Models']
    ]
    assert models == META['Models']
    assert all((carried / model['Config']).is_file() for model in models)


def test_links_and_pictures_of_the_long_description_are_absolute(site):
    [metadata] = site.glob('mask_dino-*.dist-info/METADATA')
    text = re.sub(r'```.*?```', '', metadata.read_text(), flags=re.DOTALL)
    links = re.findall(r'\]\(([^)\s]+)\)', text)
    assert len(links) > 20
    assert all(link.startswith('https://') for link in links)
    assert f']({REPOSITORY}/raw/HEAD/docs/predictions.jpg)' in text
    linked = [link.partition('/HEAD/')[2] for link in links if link.startswith(REPOSITORY)]
    assert all((ROOT / path.partition('#')[0]).exists() for path in linked)


def test_the_prefix_in_an_installed_package(site, tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mask_dino::maskdino/maskdino_tiny_shapes.py'")
    printed = python(site, '-c', SCRIPT.format(site=str(site)), cwd=tmp_path)
    assert printed.splitlines()[-1] == str(site / 'mask_dino' / '.mim')


def test_installed_tools_start(site, tmp_path):
    """mim runs this file, and torch.distributed.run does."""
    tool = site / 'mask_dino' / '.mim' / 'tools' / 'train.py'
    assert '--auto-scale-lr' in python(site, tool, '--help', cwd=tmp_path)


@pytest.mark.parametrize('name', ['maskdino_tiny_shapes', 'maskdino_tiny_shapes-semantic.py'])
def test_a_base_with_the_prefix_is_the_config_itself(tmp_path, name):
    """It brings no scope of its own: its parts are registered with MMDetection or MMSegmentation."""
    (tmp_path / 'mine.py').write_text(
        f"_base_ = 'mask_dino::maskdino/{name}'\nmodel = dict(test_cfg=dict(extra=1))"
    )
    mine = Config.fromfile(tmp_path / 'mine.py')
    assert mine.model.test_cfg.pop('extra') == 1
    assert mine._cfg_dict == Config.fromfile(CONFIGS / f'{name.removesuffix(".py")}.py')._cfg_dict
    assert '_scope_' not in mine.pretty_text


def test_bases_of_other_packages_are_left_to_mmengine(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'")
    assert Config.fromfile(tmp_path / 'mine.py').model._scope_ == 'mmdet'
    compat.register_config_prefix()


def load_fresh(module):
    """Run a module of another package again, as it is without our changes."""
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh


def test_the_prefix_can_go_when_mmengine_leaves_a_base_its_scope(site, tmp_path):
    """The entry in MODULE2PACKAGE would then be enough, and the replaced function of Config could go."""
    (tmp_path / 'mine.py').write_text("_base_ = 'mask_dino::maskdino/maskdino_tiny_shapes.py'")
    code = """
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
MODULE2PACKAGE['mask_dino'] = 'mask_dino'
print(Config.fromfile('mine.py', import_custom_modules=False).model.get('_scope_'))
"""
    assert python(site, '-c', code, cwd=tmp_path).splitlines()[-1] == 'mask_dino'


def test_the_inferencer_can_do_without_us_when_mmdet_needs_no_panopticapi(monkeypatch):
    monkeypatch.setitem(sys.modules, 'panopticapi', None)
    fresh = load_fresh(det_inferencer)
    assert fresh.VOID is None and fresh.id2rgb is None
    assert det_inferencer.VOID is not None and det_inferencer.id2rgb is not None


def test_our_loaders_can_go_when_mmengine_refuses_what_may_run_code(tmp_path, monkeypatch):
    """It leaves this to torch, which refuses it since 2.6 only."""
    (tmp_path / 'file.pth').touch()
    monkeypatch.setattr(torch, 'load', lambda *_, **options: options)
    assert 'weights_only' not in checkpoint.load_from_local(str(tmp_path / 'file.pth'), 'cpu')


def test_our_allow_list_can_go_when_torch_loads_the_states_of_mmengine(tmp_path):
    torch.save(dict(message_hub=HistoryBuffer([1.0], [1])), tmp_path / 'file.pth')
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
            torch.load(tmp_path / 'file.pth', weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)


def test_without_the_private_function_the_import_still_works(monkeypatch):
    monkeypatch.delitem(MODULE2PACKAGE, 'mask_dino')
    monkeypatch.delattr(Config, '_get_cfg_path')
    compat.register_config_prefix()
    assert not hasattr(Config, '_get_cfg_path')
    assert MODULE2PACKAGE['mask_dino'] == 'mask_dino'


def test_a_config_that_is_not_there_is_named(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mask_dino::maskdino/maskdino_r51.py'")
    with pytest.raises(
        FileNotFoundError, match=r'mask_dino::maskdino/maskdino_r51\.py: there is no .*configs'
    ):
        Config.fromfile(tmp_path / 'mine.py')


def test_every_published_config_is_in_the_metafile():
    """With the figures that its first line names, and no others."""
    published = {
        path for path in CONFIGS.glob('*.py') if path.read_text().startswith('# Published')
    }
    assert published and published <= {ROOT / model['Config'] for model in META['Models']}
    for model in META['Models']:
        metrics = [
            value for result in model.get('Results', []) for value in result['Metrics'].values()
        ]
        first = (ROOT / model['Config']).read_text().partition('\n')[0]
        assert {str(value) for value in metrics} <= set(re.findall(r'\d+\.\d', first)), model[
            'Name'
        ]
        assert model['Name'] == Path(model['Config']).stem


def test_the_metafile_is_whole():
    assert [collection['Name'] for collection in META['Collections']] == ['Mask DINO']
    assert len({model['Name'] for model in META['Models']}) == len(META['Models'])
    for model in META['Models']:
        assert model['In Collection'] == 'Mask DINO'
        assert model['Metadata']['Training Data']
        assert all(
            {'Task', 'Dataset', 'Metrics'} == result.keys() for result in model.get('Results', [])
        )
