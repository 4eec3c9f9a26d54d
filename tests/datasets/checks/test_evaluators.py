"""An evaluator must read the file of its data set, and have something to evaluate."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.coco_folder import build_dataset, coco_content, write_coco
from mmengine.dataset import ConcatDataset

from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.messages import DataError, Finding, error_messages


@pytest.fixture
def folder(tmp_path) -> Path:
    write_coco(tmp_path, coco_content())
    return tmp_path


def check(dataset, evaluator: object) -> list[Finding]:
    return check_loaders(
        dict(val_dataloader=dataset), dict(default_scope='mmdet', val_evaluator=evaluator), None
    )


def metric(folder: Path, file: str, kind: str = 'CocoMetric', **options: object) -> dict:
    return dict(type=kind, ann_file=str(folder / file), metric='bbox', **options)


def rename(content: dict) -> None:
    for image in content['images']:
        image['file_name'] = f'other_{image["file_name"]}'


def resize(content: dict) -> None:
    for image in content['images'][:2]:
        image['width'] += 1


def reorder(content: dict) -> None:
    content['categories'].reverse()


def rename_category(content: dict) -> None:
    content['categories'][1]['name'] = 'wolf'


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        (rename, 'has other images than'),
        (resize, 'under 2 ids'),
        (reorder, 'another order'),
        (rename_category, "no category called 'dog'"),
        (lambda content: content['images'].pop(), 'lacks 1 images'),
    ],
)
@pytest.mark.parametrize(
    'wrap', [lambda m: m, lambda m: [m, m], lambda m: dict(type='Evaluator', metrics=[m])]
)
def test_a_file_of_other_images_or_classes_is_refused(
    folder, change: Callable, word: str, wrap: Callable
):
    content = copy.deepcopy(coco_content())
    change(content)
    write_coco(folder, content, 'other.json')
    dataset = build_dataset(folder, test_mode=True)
    for kind in ('CocoMetric', 'CompleteCocoMetric'):
        (message,) = error_messages(check(dataset, wrap(metric(folder, 'other.json', kind))))
        assert message.startswith('val_evaluator.ann_file') and word in message
    assert (
        error_messages(check(dataset, wrap(metric(folder, 'other.json', format_only=True)))) == []
    )


def test_images_beyond_the_data_set_are_a_warning(folder):
    write_coco(folder, coco_content(num_images=5), 'more.json')
    messages = [
        finding.message
        for finding in check(build_dataset(folder, test_mode=True), metric(folder, 'more.json'))
    ]
    assert any('has 2 images that the data set does not deliver' in message for message in messages)


def test_several_data_sets_have_a_metric_each(folder):
    content = coco_content()
    rename(content)
    write_coco(folder, content, 'other.json')
    parts = [
        build_dataset(folder, ann_file=file, test_mode=True)
        for file in ('train.json', 'other.json')
    ]
    dataset = ConcatDataset(parts)
    metrics = [metric(folder, file) for file in ('train.json', 'other.json')]
    evaluator = dict(type='MultiDatasetsEvaluator', metrics=metrics, dataset_prefixes=['a', 'b'])
    assert error_messages(check(dataset, evaluator)) == []
    assert len(error_messages(check(dataset, evaluator | dict(metrics=metrics[::-1])))) == 2


def test_nothing_to_evaluate_is_an_error(folder):
    content = coco_content()
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1
    secret = {name: entries for name, entries in content.items() if name != 'annotations'}
    for damaged, count in ((content | dict(annotations=[]), 0), (content, 6), (secret, 0)):
        write_coco(folder, damaged)
        dataset = build_dataset(folder, test_mode=True)
        messages = error_messages(check(dataset, metric(folder, 'train.json')))
        assert any(
            'iscrowd is 1 in 6 of 6' in m or 'there is nothing to evaluate' in m for m in messages
        )
        summary = [finding.message for finding in check(dataset, None)]
        assert count or any('0 crowds left out' in message for message in summary)


def test_a_data_set_without_images_is_an_error(folder):
    dataset = build_dataset(folder, serialize_data=False, filter_cfg=dict(min_size=999))
    (message,) = error_messages(check(dataset, None))
    assert 'no image left' in message and 'filter_cfg' in message
    with pytest.raises(DataError, match='no image left'):
        build_dataset(folder, filter_cfg=dict(min_size=999))


def move(content: dict) -> None:
    for annotation in content['annotations']:
        annotation['bbox'][0] += 9
        polygon = annotation['segmentation'][0]
        polygon[::2] = [x + 9 for x in polygon[::2]]


def exchange_ids(content: dict) -> None:
    for category in content['categories']:
        category['id'] = 3 - category['id']


def remove_objects(content: dict) -> None:
    content['annotations'].clear()


@pytest.mark.parametrize('change', [move, exchange_ids, remove_objects])
def test_a_file_of_other_objects_is_refused_although_its_images_have_the_same_names(folder, change):
    content = coco_content()
    change(content)
    write_coco(folder, content, 'other.json')
    dataset = build_dataset(folder, test_mode=True)
    [message] = error_messages(check(dataset, metric(folder, 'other.json', 'CompleteCocoMetric')))
    assert 'val_evaluator.ann_file: the file has other objects' in message
    assert 'in 3 of 3 images' in message and '0.jpg' in message


def test_a_file_with_few_corrected_objects_is_a_warning(folder):
    content = coco_content()
    content['annotations'][0]['bbox'][2] += 5
    write_coco(folder, content, 'other.json')
    dataset = build_dataset(folder, test_mode=True)
    findings = check(dataset, metric(folder, 'other.json', 'CompleteCocoMetric'))
    assert error_messages(findings) == []
    assert any('other objects than' in message for _, message in findings)


def test_objects_that_only_the_evaluator_reads_are_checked_too(folder):
    content = coco_content()
    content['annotations'][0]['segmentation'] = [[1, 2]]
    write_coco(folder, content, 'other.json')
    dataset = build_dataset(folder, test_mode=True)
    options = metric(folder, 'other.json', 'CompleteCocoMetric') | dict(metric=['bbox', 'segm'])
    [message] = error_messages(check(dataset, options))
    assert message.startswith('val_evaluator.ann_file: ') and 'segmentation has' in message


def test_images_that_a_data_set_leaves_out_are_told(folder):
    dataset = build_dataset(folder, test_mode=True, indices=2)
    findings = check(dataset, metric(folder, 'train.json', 'CompleteCocoMetric'))
    assert any('has 1 image that the data set does not deliver' in text for _, text in findings)


@pytest.mark.parametrize(
    ('options', 'word'),
    [
        (dict(metric='segmm'), 'segmm'),
        (dict(metrics='bbox'), 'metrics'),
        (dict(iou_thrs=[50]), 'iou_thrs'),
        (dict(metric_items=['mAP_99']), 'mAP_99'),
        (dict(ann_file=None), 'val_evaluator.ann_file is missing'),
    ],
)
def test_options_of_a_metric_are_checked(folder, options, word):
    dataset = build_dataset(folder, test_mode=True)
    evaluator = metric(folder, 'train.json', 'CompleteCocoMetric') | options
    [message] = error_messages(check(dataset, evaluator))
    assert message.startswith('val_evaluator') and word in message


def test_the_metric_of_mmdet_is_a_warning(folder):
    dataset = build_dataset(folder, test_mode=True)
    findings = check(dataset, metric(folder, 'train.json'))
    assert error_messages(findings) == []
    assert any("type='CompleteCocoMetric'" in message for _, message in findings)
