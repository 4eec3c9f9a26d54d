"""Data sets are looked through as they are built, wrapped ones too, and the command says the same."""

import logging
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.coco_folder import CLASSES, build_dataset, coco_content, dataset_config, write_coco
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from mask_dino.datasets.checks.config import leaf_datasets
from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.datasets.checks.statistics import survey
from mask_dino.messages import error_messages

HEAD = SimpleNamespace(num_things_classes=2)
MODEL = SimpleNamespace(panoptic_head=HEAD, panoptic_fusion_head=HEAD)


def check(train, val=None, model=MODEL, evaluator=None, decode=False) -> list:
    loaders = dict(train_dataloader=train, val_dataloader=val)
    datasets = {loader: dataset for loader, dataset in loaders.items() if dataset is not None}
    return check_loaders(datasets, dict(val_evaluator=evaluator), model, decode)


@pytest.fixture
def folder(tmp_path) -> Path:
    content = coco_content(num_images=4)
    content['annotations'] = content['annotations'][:-2]  # the last image has no object
    write_coco(tmp_path, content)
    return tmp_path


@pytest.mark.parametrize('kind', ['CheckedCocoDataset', 'CocoDataset'])
def test_one_line_on_good_data(folder, kind):
    ((level, message),) = check(build_dataset(folder, type=kind))
    assert level == logging.INFO
    assert all(
        part in message
        for part in ('train.json', '4 images, 1 of them', '6 objects of 2 of 2 classes')
    )


@pytest.mark.parametrize('wrap', ['ConcatDataset', 'RepeatDataset', 'ClassBalancedDataset'])
def test_wrapped_data_sets_are_looked_into(folder, wrap):
    inner = dataset_config(folder)
    options = dict(
        ConcatDataset=dict(datasets=[inner, inner]),
        RepeatDataset=dict(dataset=inner, times=2),
        ClassBalancedDataset=dict(dataset=inner, oversample_thr=0.5),
    )
    dataset = DATASETS.build(dict(type=wrap, **options[wrap]))
    assert {type(leaf).__name__ for leaf in leaf_datasets(dataset)} == {'CheckedCocoDataset'}
    assert error_messages(check(dataset)) == []
    (folder / 'images/1.jpg').unlink()
    assert len(error_messages(check(dataset))) == 1


def test_unknown_kinds_of_data_are_left_alone():
    class Unknown(BaseDataset):
        def load_data_list(self) -> list[dict]:
            return [dict(anything=1)]

    assert check(Unknown()) == check(object()) == []


def test_classes_without_objects_are_named_in_training_alone(folder):
    content = coco_content()
    content['annotations'] = content['annotations'][::2]
    write_coco(folder, content)
    warnings = [
        message for level, message in check(build_dataset(folder)) if level == logging.WARNING
    ]
    assert len(warnings) == 1 and 'dog' in warnings[0] and 'cat' not in warnings[0]
    assert [level for level, _ in check(build_dataset(folder, test_mode=True))] == [logging.INFO]


def test_no_object_at_all_is_an_error_in_training_alone(folder):
    write_coco(folder, coco_content() | dict(annotations=[]))
    assert 'train.json' in error_messages(check(build_dataset(folder)))[0]
    assert error_messages(check(build_dataset(folder, test_mode=True))) == []


def test_a_test_set_without_annotations_passes(folder):
    content = coco_content()
    del content['annotations']
    write_coco(folder, content)
    assert error_messages(check(build_dataset(folder, test_mode=True))) == []


def test_classes_of_training_validation_and_model_must_agree(folder):
    train, val = (
        build_dataset(folder),
        build_dataset(folder, metainfo=dict(classes=('cat',)), test_mode=True),
    )
    assert error_messages(check(train, train)) == []
    messages = '\n'.join(error_messages(check(train, val)))
    assert 'metainfo.classes' in messages and 'num_things_classes is 2' in messages
    assert (
        len(
            error_messages(
                check(
                    train,
                    train,
                    SimpleNamespace(panoptic_head=SimpleNamespace(num_things_classes=80)),
                )
            )
        )
        == 1
    )


def test_the_evaluator_must_know_the_images(folder):
    val = build_dataset(folder, test_mode=True)
    metric = dict(type='CocoMetric', ann_file=str(folder / '.' / 'train.json'))
    other = coco_content(num_images=2)
    write_coco(folder, other, 'other.json')
    assert error_messages(check(val, val, evaluator=metric)) == []
    for evaluator in (
        metric | dict(ann_file=str(folder / 'other.json')),
        [metric | dict(ann_file=str(folder / 'other.json'))],
    ):
        (message,) = error_messages(check(val, val, evaluator=evaluator))
        assert (
            'val_evaluator.ann_file' in message
            and 'other.json' in message
            and 'lacks 2 images' in message
        )
    assert (
        error_messages(
            check(val, val, evaluator=metric | dict(ann_file='other.json', format_only=True))
        )
        == []
    )
    (message,) = error_messages(check(val, val, evaluator=metric | dict(ann_file='absent.json')))
    assert 'absent.json does not exist' in message


def test_headers_are_read_of_a_few_images_of_many_and_pixels_of_all_on_demand(folder, monkeypatch):
    monkeypatch.setattr('mask_dino.datasets.checks.statistics.READ_HEADERS', 2)
    for name in '13':
        path = folder / f'images/{name}.jpg'
        path.write_bytes(path.read_bytes()[:-500])
    dataset = build_dataset(folder)
    assert error_messages(check(dataset)) == []
    (message,) = error_messages(check(dataset, decode=True))
    assert '2 images damaged' in message and '1.jpg' in message and '3.jpg' in message


def test_what_is_counted_is_what_is_delivered(folder):
    content = coco_content(num_images=4)
    content['annotations'][0]['iscrowd'] = 1
    content['annotations'][1]['segmentation'] = []
    content['annotations'][2]['bbox'] = [0, 0, 0, 0]
    write_coco(folder, content)
    found = survey(build_dataset(folder))
    assert found.objects == {0: 2, 1: 3}
    assert [Path(path).name for path in found.empty] == ['0.jpg']


def test_the_command_prints_the_findings_and_tells_errors_by_its_exit_status(folder, capsys):
    config = folder / 'config.py'
    loader = dict(batch_size=1, dataset=dataset_config(folder))
    model = dict(panoptic_head=dict(num_things_classes=len(CLASSES)))
    config.write_text(
        "custom_imports = dict(imports=['mask_dino.hooks'])\n"
        f'model = {model}\ntrain_dataloader = {loader}\nval_dataloader = test_dataloader = {loader}\n'
    )
    assert 'info: train_dataloader: 4 images' in command(capsys, 0, str(config))
    path = folder / 'images/1.jpg'
    path.write_bytes(path.read_bytes()[:-500])
    assert 'error: 1 image damaged' in command(capsys, 1, str(config), '--images')
    assert 'x.json' in command(
        capsys, 1, str(config), '--cfg-options', 'train_dataloader.dataset.ann_file=x.json'
    )


def command(capsys, status: int, *arguments: str) -> str:
    """Run the command and return what it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['check_dataset.py', *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path('tools/misc/check_dataset.py', run_name='__main__')
    assert end.value.code == status
    return capsys.readouterr().out


def test_joined_data_sets_of_other_classes_are_named(folder):
    parts = [dataset_config(folder), dataset_config(folder, metainfo=dict(classes=('cat',)))]
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    messages = error_messages(check(joined))
    assert any(
        'train_dataloader.dataset.datasets[1]: cat' in message and 'metainfo.classes' in message
        for message in messages
    )
