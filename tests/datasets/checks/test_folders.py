"""A folder without images is named before data sets are built, with what to correct."""

from pathlib import Path

import pytest

from mask_dino.datasets.checks.config import config_problems
from mask_dino.seg import decode_head as seg  # noqa: F401  registers the data set of Shapes with mmseg

LOADER = 'train_dataloader'


def problems(root: Path, wrap: bool = False, **options: object) -> list[str]:
    dataset = dict(
        type='ShapesDataset', data_root=str(root), data_prefix=dict(img_path='train'), **options
    )
    if wrap:
        dataset = dict(
            type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=2, dataset=dataset)]
        )
    return config_problems(
        {'default_scope': 'mmseg', LOADER: dict(dataset=dataset)}, [LOADER, 'val_dataloader']
    )


@pytest.fixture
def images(tmp_path) -> Path:
    (tmp_path / 'train/a_town').mkdir(parents=True)
    return tmp_path / 'train/a_town'


@pytest.mark.parametrize('wrap', [False, True])
def test_a_folder_that_does_not_exist_is_named(tmp_path, wrap):
    (found,) = problems(tmp_path, wrap)
    assert (
        found.startswith(f'{LOADER}: {tmp_path}/train: ')
        and 'does not exist. Correct data_root' in found
    )


def test_a_folder_without_images_is_named(tmp_path, images):
    (found,) = problems(tmp_path)
    assert 'train has no image whose name ends in .jpg; it is empty' in found


def test_names_that_end_in_something_else_are_named(tmp_path, images):
    (images / '1.tif').touch()
    (found,) = problems(tmp_path)
    assert 'ends in .jpg; names end in .tif: set img_suffix' in found
    assert problems(tmp_path, img_suffix='.tif') == []


def test_folders_below_count_and_lists_of_names_are_believed(tmp_path, images):
    (images / '1.jpg').touch()
    assert problems(tmp_path) == []
    assert problems(tmp_path / 'elsewhere', ann_file='names.txt') == []


def test_data_sets_that_list_no_folder_are_left_alone():
    dataset = dict(type='mmdet.CocoDataset', ann_file='none.json', data_prefix=dict(img=''))
    assert config_problems({LOADER: dict(dataset=dataset)}, [LOADER]) == []
