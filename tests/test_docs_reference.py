"""The page of config options has every option and default of the signatures."""

import inspect
import re
from pathlib import Path

import pytest
from mmdet.registry import DATASETS, METRICS, MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.registry import HOOKS

import mask_dino.seg  # noqa: F401  registers the decode head
from mask_dino.ops.points import PointSampler

PAGE = Path(__file__).parents[1] / 'docs/reference/config.md'
SECTIONS = re.findall(r'^### (\w+)\n(.*?)(?=^##|\Z)', PAGE.read_text(), re.MULTILINE | re.DOTALL)
REGISTRIES = (MODELS, TASK_UTILS, DATASETS, METRICS, HOOKS)
FRAMEWORK = {'MaskDINO', 'MaskDINOFusionHead', 'MaskDINOOptimWrapperConstructor', 'CheckpointHook'}
FRAMEWORK |= {'CheckedCocoDataset', 'CheckedCocoPanopticDataset', 'CheckedADE20KPanopticDataset'}
FRAMEWORK |= {'CityscapesPanopticDataset', 'ShapesDataset', 'LoadCocoPanopticAnnotations'}
FRAMEWORK |= {'LoadLabelMap', 'PanopticVisualizer', 'SemanticVisualizer', 'ScoreTTAModel'}
FRAMEWORK |= {'BFloat16OptimWrapper', 'PlainHistoryHook'}
"""Classes without options, or with the arguments of their framework, which the page names and does not list."""


def table_of(text: str) -> dict[str, str]:
    """Return option -> default."""
    rows = re.findall(r'^\| `(\w+)` \| (.+?) \| .+ \|$', text, re.MULTILINE)
    return {name: default.strip('`') for name, default in rows}


def options_of(name: str) -> dict[str, str]:
    """Return option -> default by the signature of a class."""
    found = PointSampler if name == 'PointSampler' else None
    for registry in REGISTRIES:
        found = found or registry.module_dict.get(name)
    if found is None:
        from mmseg.registry import MODELS as SEG_MODELS

        found = SEG_MODELS.get(name)
    parameters = inspect.signature(found.__init__).parameters
    empty = inspect.Parameter.empty
    return {
        option: 'required' if parameter.default is empty else repr(parameter.default)
        for option, parameter in parameters.items()
        if option != 'self'
    }


@pytest.mark.parametrize(('name', 'text'), SECTIONS, ids=[name for name, _ in SECTIONS])
def test_a_table_has_the_options_and_defaults_of_the_class(name, text):
    if name not in FRAMEWORK:
        assert table_of(text) == options_of(name)


def test_every_setting_of_a_config_is_read_or_set():
    """The settings at the top level are names of the configs, or names that the tools look up."""
    text = PAGE.read_text().partition('## Settings of a config')[2].partition('\n## ')[0]
    names = re.findall(r'^\| (`.+?`) \|', text, re.MULTILINE)
    settings = {word.partition('.')[0] for row in names for word in re.findall(r'`([\w.]+)`', row)}
    root = PAGE.parents[2]
    config = '\n'.join(path.read_text() for path in (root / 'configs').rglob('*.py'))
    tools = ''.join(path.read_text() for path in (root / 'mask_dino/cli').glob('*.py'))
    assert len(settings) > 10
    for name in settings:
        assert re.search(rf'^{name} = ', config, re.MULTILINE) or f"'{name}'" in tools, name


def test_the_page_has_every_class_of_the_models():
    ours = {
        name
        for registry in (MODELS, TASK_UTILS)
        for name, found in registry.module_dict.items()
        if found.__module__.startswith('mask_dino.models')
    }
    assert ours - {'MaskCrossEntropyCost'} <= {name for name, _ in SECTIONS}


def test_the_test_settings_are_those_of_the_base_config():
    text = dict(SECTIONS)['MaskDINOFusionHead']
    settings = Config.fromfile('configs/_base_/models/maskdino_r50.py').model.test_cfg
    assert {name: eval(value) for name, value in table_of(text).items()} == settings


def test_the_page_has_every_class_of_this_package_that_a_config_names():
    package = PAGE.parents[2] / 'mask_dino'
    texts = [file.read_text() for file in package.rglob('*.py')]
    registered = {
        name for text in texts for name in re.findall(r'\.register_module\(.*\)\nclass (\w+)', text)
    }
    files = [*(PAGE.parents[2] / 'configs').rglob('*.py'), package / 'new_config/templates.py']
    named = {name for file in files for name in re.findall(r"'(\w+)'", file.read_text())}
    assert len(registered & named) > 20
    assert registered & named <= {name for name, _ in SECTIONS}
