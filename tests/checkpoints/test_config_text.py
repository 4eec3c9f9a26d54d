"""Configs inside checkpoints are parsed and checked; no code runs from them, and what mmengine writes still loads."""

import contextlib
import enum
import sys
from pathlib import Path

import pytest
import torch
from helpers.attacks import MODULE, TEXTS, HiddenEntries, make_text, write_checkpoint, write_files
from mmengine.config import Config, ConfigDict
from mmengine.registry import HOOKS, MODELS, init_default_scope

from mask_dino.checkpoints import CheckpointError, load_checkpoint_safely
from mask_dino.checkpoints.config_text import (
    find_unreadable,
    parse_config_text,
    write_config_text,
)
from mask_dino.checkpoints.trusted_names import VARIABLE, UntrustedError, check_settings

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(ROOT.glob('configs/**/*.py'))


@pytest.fixture
def trace(tmp_path, monkeypatch):
    """The file that an attack leaves behind; the attacker's files can be imported and read."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in (MODULE, f'{MODULE}.registry'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield write_files(tmp_path)
    for name in [name for name in sys.modules if name.partition('.')[0] == MODULE]:
        del sys.modules[name]


@pytest.mark.parametrize('attack', TEXTS)
def test_no_code_runs_from_a_config(tmp_path, trace, attack):
    path = write_checkpoint(tmp_path / 'bad.pth', make_text(attack, tmp_path), 'cfg')
    with pytest.raises(CheckpointError, match='refused') as caught:
        load_checkpoint_safely(path)
    assert str(path) in str(caught.value)
    assert "meta['cfg']" in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize('attack', TEXTS)
def test_without_the_check_the_attacks_work(tmp_path, trace, attack):
    """Otherwise the test above would show nothing."""
    with contextlib.suppress(Exception):
        config = Config.fromstring(make_text(attack, tmp_path), '.py')
        init_default_scope(config.get('default_scope', 'mmdet'))
        MODELS.build(config.model)
    init_default_scope('mmdet')
    assert trace.exists()


@pytest.mark.parametrize('place', ['cfg', 'config', 'message_hub'])
@pytest.mark.parametrize('wrap', [dict, HiddenEntries])
def test_every_place_is_checked(tmp_path, trace, place, wrap):
    text = make_text('call', tmp_path)
    meta, info = ({}, {'cfg': text}) if place == 'message_hub' else ({place: text}, {})
    hub = dict(log_scalars={}, runtime_info=wrap(info), resumed_keys={})
    torch.save(
        wrap(dict(meta=wrap(meta), message_hub=wrap(hub), state_dict={})), tmp_path / 'bad.pth'
    )
    with pytest.raises(CheckpointError, match='refused'):
        load_checkpoint_safely(tmp_path / 'bad.pth')
    assert not trace.exists()


def test_endless_meta_data_are_refused(tmp_path):
    meta = {}
    meta['meta'] = meta
    torch.save(dict(meta=meta, state_dict={}), tmp_path / 'bad.pth')
    with pytest.raises(CheckpointError, match='nested too deeply'):
        load_checkpoint_safely(tmp_path / 'bad.pth')


@pytest.mark.parametrize('kind', [dict, ConfigDict, Config])
def test_configs_that_are_not_texts_are_checked(tmp_path, trace, kind):
    good = kind(dict(model=dict(type='MaskDINO', depths=(2, 2))))
    loaded = load_checkpoint_safely(write_checkpoint(tmp_path / 'good.pth', good, 'cfg'))
    assert loaded['meta']['cfg'] == dict(model=dict(type='MaskDINO', depths=(2, 2)))
    bad = kind(dict(model=dict(type='os.system', command=f'touch {trace}')))
    with pytest.raises(CheckpointError, match=r'os\.system'):
        load_checkpoint_safely(write_checkpoint(tmp_path / 'bad.pth', bad, 'cfg'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_what_mmengine_writes_for_our_configs_is_accepted(path):
    config = Config.fromfile(path, import_custom_modules=False)
    config._format_python_code = False  # formatting takes a second and changes no value
    settings = parse_config_text(config.pretty_text)
    assert settings == config.to_dict() == parse_config_text(write_config_text(settings))
    assert list(find_unreadable(settings)) == []
    check_settings(settings, ())


@pytest.mark.parametrize(
    'name', ['maskdino_tiny_shapes', 'maskdino_r50_8xb2-90k_cityscapes-512x1024']
)
def test_mmengine_reads_the_same_config_from_a_checkpoint(tmp_path, name):
    config = Config.fromfile(
        ROOT / 'configs' / 'maskdino' / f'{name}.py', import_custom_modules=False
    )
    loaded = load_checkpoint_safely(
        write_checkpoint(tmp_path / 'good.pth', config.pretty_text, 'message_hub')
    )
    again = Config.fromstring(loaded['message_hub']['runtime_info']['cfg'], '.py')
    assert again.to_dict() == config.to_dict()


VALUES = [
    *(
        None,
        True,
        -1,
        1e-4,
        -2.5,
        10**30,
        float('inf'),
        -float('inf'),
        1j,
        b'\x00',
        'text',
        '',
        (),
        [],
        {},
        (1,),
    ),
    *(
        [1, (2, [3])],
        {1, 2},
        {'a b': 1, 3: {(1, 2): 'x'}},
        dict(custom_keys={'backbone.norm': dict(lr_mult=0.1)}),
    ),
    *(
        '{{ fileDirname }}',
        "{{'$HOME:x'}}",
        '\\{{$A:b}}',
        'é\u2028"\'\n\\',
        '# coding: utf-7',
        '{{_base_.x}}',
    ),
    set(),
]


@pytest.mark.parametrize('value', VALUES, ids=ascii)
def test_values_survive_parsing_and_writing(value):
    text = write_config_text({'x': value})
    assert text.isascii()
    assert (
        parse_config_text(
            text.replace("float('", '').replace("')", '') if 'float(' in text else text
        )['x']
        == value
    )
    assert Config.fromstring(text, '.py').to_dict().get('x') == value


def test_types_of_torch_are_read_as_the_names_that_mmengine_takes_for_them():
    config = Config(
        dict(
            optim_wrapper=dict(type='AmpOptimWrapper', dtype=torch.float16), other=[torch.bfloat16]
        )
    )
    settings = parse_config_text(config.pretty_text)
    assert settings == dict(
        optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16'), other=['bfloat16']
    )
    assert list(find_unreadable(config.to_dict())) == []


class Level(enum.Enum):
    LOW = 1


@pytest.mark.parametrize(
    'value',
    [
        Path('data/mine'),
        Level.LOW,
        torch.device('cpu'),
        slice(1, 2),
        torch.nn.GELU,
        print,
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_that_the_text_of_a_config_cannot_express_are_found(value):
    settings = dict(a=1, b=[dict(c=(value, 'text'))])
    assert list(find_unreadable(settings)) == [('b[0].c[0]', value)]
    with pytest.raises((UntrustedError, SyntaxError)):  # mmengine cannot write some of them
        parse_config_text(Config(settings).pretty_text)


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        'x = torch.nn',
        'x = torch.load',
        'x = torch.float16.to_real()',
        'x = os.float16',
        'x = set([1])',
        'x = (',
        'x = ' + '(' * 5000,
        'x' * 10,
        'x.y = 1',
        'x, y = 1, 2',
        'x = -"a"',
        '\0',
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(UntrustedError):
        parse_config_text(text)


@pytest.mark.parametrize(
    'name',
    [
        *(
            'MaskDINO',
            'mmdet.MaskRCNN',
            'mmdet.models.detectors.MaskFormer',
            'mmengine.dataset.DefaultSampler',
        ),
        *(
            'mmpretrain.ConvNeXt',
            'torch.optim.AdamW',
            'torch.optim.sgd.SGD',
            'torch.optim.lr_scheduler.StepLR',
        ),
        *(
            'torch.nn.GELU',
            'torch.nn.modules.activation.ReLU',
            'mmcv.transforms.loading.LoadImageFromFile',
        ),
        *(
            'soft_nms',
            'torchvision/CenterCrop',
            'mmdet.engine.hooks.NumClassCheckHook',
            'NotRegisteredAnywhere',
        ),
    ],
)
def test_names_that_configs_use_are_accepted(name):
    check_settings(dict(model=[dict(type=name)]), ())


@pytest.mark.parametrize(
    'settings',
    [
        *(
            dict(type='os.system'),
            dict(type='builtins.eval'),
            dict(type="open('x')"),
            dict(type=print),
        ),
        *(dict(type='mmengine.utils.get_object_from_string'), dict(type='mmengine.runner.Runner')),
        *(
            dict(type='torch.jit.load'),
            dict(type='torch.nn.init.zeros_'),
            dict(type='torch.utils.cpp_extension.load'),
        ),
        *(dict(type='numpy.load'), dict(collate_fn='os.system'), dict(constructor='os.system')),
        *(
            dict(sampler_type='os.system'),
            dict(custom_imports=['os']),
            dict(custom_imports=dict(imports=[1])),
        ),
        *(
            dict(backend_args=dict(backend='memcached', sys_path='/somewhere')),
            dict(search_op='__import__("os")'),
        ),
        *(
            dict(type='mmseg.TIMMBackbone', model_name='hf_hub:a/b'),
            dict(name_or_path='a/b', trust_remote_code=True),
        ),
        *(dict(model=dict(teacher_config='x.json')), dict(ann_file='http://somewhere/x.pkl?y=1')),
    ],
    ids=str,
)
def test_names_that_lead_elsewhere_are_refused(settings):
    with pytest.raises(UntrustedError):
        check_settings(dict(outer=[(settings,)]), ())


def test_files_that_only_training_reads_are_accepted():
    check_settings(dict(train_dataloader=dict(dataset=dict(proposal_file='proposals/rpn.pkl'))), ())
    with pytest.raises(UntrustedError, match=r'model\.weight'):
        check_settings(dict(model=dict(weight='proposals/rpn.pkl')), ())


def test_the_message_says_how_to_trust_a_package(tmp_path, monkeypatch):
    text = 'custom_imports = dict(imports=["my_package.models"])\nmodel = dict(type="my_package.models.Net")'
    path = write_checkpoint(tmp_path / 'mine.pth', text, 'cfg')
    with pytest.raises(CheckpointError, match=f'{VARIABLE}=my_package') as caught:
        load_checkpoint_safely(path)
    assert "trusted_packages=('my_package',)" in str(caught.value)
    assert 'custom_imports' in str(caught.value)
    loaded = load_checkpoint_safely(path, trusted_packages=['my_package'])
    assert parse_config_text(loaded['meta']['cfg'])['model'] == dict(type='my_package.models.Net')
    monkeypatch.setenv(VARIABLE, 'other, my_package')
    load_checkpoint_safely(path)


def test_a_package_that_the_users_own_config_imported_is_trusted(tmp_path, monkeypatch):
    (tmp_path / 'users_package.py').write_text(
        'from mmengine.registry import HOOKS\nfrom mmengine.hooks import Hook\n\n\n'
        '@HOOKS.register_module()\nclass UsersHook(Hook):\n    pass\n\n\nclass Other:\n    pass\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = dict(
        custom_imports=dict(imports='users_package'),
        custom_hooks=[dict(type='UsersHook'), dict(type='users_package.UsersHook')],
    )
    with pytest.raises(UntrustedError):
        check_settings(settings, ())
    Config.fromstring("custom_imports = dict(imports=['users_package'])", '.py')
    try:
        check_settings(settings, ())
        with pytest.raises(UntrustedError, match=r'users_package\.Other'):
            check_settings(dict(type='users_package.Other'), ())
    finally:
        HOOKS.module_dict.pop('UsersHook')
        sys.modules.pop('users_package')


def test_settings_of_published_checkpoints_load(tmp_path):
    """MMDetection 2 keeps its config and its classes under other names, MMSegmentation keeps both in ``meta``."""
    text = "dataset_type = 'CocoDataset'\nmodel = dict(\n    type='MaskRCNN',\n    pretrained='torchvision://resnet50')"
    meta = dict(
        config=text,
        CLASSES=('a', 'b'),
        PALETTE=None,
        mmcv_version='1.3.3',
        experiment_name='x',
        exp_name='y.py',
    )
    torch.save(dict(meta=meta, state_dict={}), tmp_path / 'old.pth')
    loaded = load_checkpoint_safely(tmp_path / 'old.pth')['meta']
    assert parse_config_text(loaded.pop('config')) == parse_config_text(meta.pop('config'))
    assert loaded == meta
