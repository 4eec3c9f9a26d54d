"""One value sets the size of images in training and testing, in configs that inherit from ours and on command lines."""

from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import TRANSFORMS

import mask_dino.seg  # noqa: F401  registers LoadLabelMap
from mask_dino.cli.common import UsageError, load_config
from mask_dino.image_size import find_unused_image_size, set_image_size

CONFIGS = Path('configs/maskdino').resolve()
NAMES = ['maskdino_tiny_shapes', 'maskdino_tiny_shapes-panoptic', 'maskdino_tiny_shapes-semantic']


def derive(folder: Path, base: str, *lines: str) -> Path:
    path = folder / 'mine.py'
    path.write_text('\n'.join([f"_base_ = '{CONFIGS / base}.py'", *lines]) + '\n')
    return path


def resized(
    folder: Path, config: Config, pipeline: list, height: int, width: int
) -> tuple[int, ...]:
    """Return the shape of an image after a test pipeline without annotations."""
    path = folder / 'photo.png'
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    results = dict(img_path=str(path))
    with DefaultScope.overwrite_default_scope(config.default_scope):
        for transform in pipeline:
            if transform['type'] in ('LoadImageFromFile', 'Resize'):
                results = TRANSFORMS.build(dict(transform))(results)
    return results['img'].shape[:2]


@pytest.mark.parametrize('name', NAMES)
def test_photos_are_tested_at_the_size_of_training(tmp_path, name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    for loader in (config.val_dataloader, config.test_dataloader):
        assert resized(tmp_path, config, loader.dataset.pipeline, 600, 800) == (96, 128)
        assert resized(tmp_path, config, loader.dataset.pipeline, 128, 128) == (128, 128)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('size', ['(512, 512)', '512'])
def test_two_lines_of_a_derived_config_change_training_and_testing(tmp_path, name, size):
    lines = (
        'from mask_dino.image_size import set_image_size',
        f'set_image_size(_base_, {size})',
        'max_iters = 7',
    )
    config = Config.fromfile(derive(tmp_path, name, *lines))
    base = Config.fromfile(CONFIGS / f'{name}.py')
    assert config.image_size == (512, 512) and config.max_iters == 7
    assert config.pretty_text.count('128') == 0
    assert config.pretty_text.count('512') == base.pretty_text.count('128')
    assert resized(tmp_path, config, config.test_dataloader.dataset.pipeline, 600, 800) == (
        384,
        512,
    )
    assert find_unused_image_size(config) is None


def test_a_config_two_levels_down_is_changed_too(tmp_path):
    (tmp_path / 'first.py').write_text(derive(tmp_path, NAMES[0], 'max_iters = 7').read_text())
    lines = (
        "_base_ = './first.py'",
        'from mask_dino.image_size import set_image_size',
        'set_image_size(_base_, 96)',
    )
    (tmp_path / 'second.py').write_text('\n'.join(lines))
    config = Config.fromfile(tmp_path / 'second.py')
    assert resized(tmp_path, config, config.val_dataloader.dataset.pipeline, 300, 200) == (96, 64)


@pytest.mark.parametrize('name', NAMES)
def test_the_command_line_changes_training_and_testing(name):
    expected = Config.fromfile(CONFIGS / f'{name}.py')
    set_image_size(expected, (320, 192))
    args = Namespace(
        config=str(CONFIGS / f'{name}.py'), work_dir=None, launcher='none', local_rank=0
    )
    args.cfg_options = dict(image_size=[320, 192], max_iters=3)
    config = load_config(args)
    assert config.max_iters == 3
    assert config.train_dataloader == expected.train_dataloader
    assert config.val_dataloader == expected.val_dataloader
    assert config.model == expected.model


def test_width_and_height_reach_both_frameworks_in_their_order():
    """MMSegmentation crops to (height, width), MMDetection to (width, height); both resize to (width, height)."""
    crops = {}
    for name in (NAMES[0], NAMES[2]):
        config = Config.fromfile(CONFIGS / f'{name}.py')
        set_image_size(config, (320, 192))
        crops[name] = {t.type: t for t in config.train_dataloader.dataset.pipeline}
        assert crops[name]['RandomResize'].scale == (320, 192)
    assert crops[NAMES[0]]['RandomCrop'].crop_size == crops[NAMES[0]]['Pad'].size == (320, 192)
    assert crops[NAMES[2]]['RandomCrop'].crop_size == (192, 320)
    assert config.model.data_preprocessor.size == (192, 320)
    set_image_size(config, 64)
    assert config.model.data_preprocessor.size == (64, 64)


def test_the_variable_alone_is_refused_because_it_has_no_effect(tmp_path):
    path = derive(tmp_path, NAMES[0], 'image_size = (512, 512)')
    assert 'set_image_size(_base_, (512, 512))' in find_unused_image_size(Config.fromfile(path))
    args = Namespace(config=str(path), work_dir=None, launcher='none', local_rank=0, cfg_options={})
    with pytest.raises(UsageError, match=r'image_size=\(512, 512\) has no effect.*\(128, 128\)'):
        load_config(args)


@pytest.mark.parametrize('size', [0, (128, -1)])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match='positive'):
        set_image_size(Config.fromfile(CONFIGS / f'{NAMES[0]}.py'), size)


@pytest.mark.parametrize('size', [0, [1, 2, 3], 'large'])
def test_the_command_line_says_how_a_size_is_written(size):
    args = Namespace(
        config=str(CONFIGS / f'{NAMES[0]}.py'), work_dir=None, launcher='none', local_rank=0
    )
    args.cfg_options = dict(image_size=size)
    with pytest.raises(UsageError, match='WIDTH,HEIGHT'):
        load_config(args)


def test_a_config_without_a_common_size_is_named():
    with pytest.raises(ValueError, match='no variable image_size'):
        set_image_size(Config(dict(train_pipeline=[])), 128)


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_the_variable_of_every_config_is_the_size_that_its_transforms_use(path):
    assert find_unused_image_size(Config.fromfile(path, import_custom_modules=False)) is None
