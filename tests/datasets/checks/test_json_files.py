"""Annotation files that are not JSON, or hold something else, are named with the remedy, wherever they are named."""

import bz2
import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import coco_folder, panoptic_folder
from mmdet.registry import DATASETS

from mask_dino.datasets.checks.evaluators import check_evaluator
from mask_dino.datasets.checks.json_file import read_coco
from mask_dino.datasets.checks.loaders import check_config
from mask_dino.messages import DataError, error_messages

FORMS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    'byte order mark': (lambda text: b'\xef\xbb\xbf' + text, 'without a byte order mark'),
    'UTF-16': (lambda text: text.decode().encode('utf-16'), 'it is UTF-16'),
    'UTF-16 without a mark': (lambda text: text.decode().encode('utf-16-le'), 'it is UTF-16'),
    'Latin-1': (lambda text: text.replace(b'cat', b'c\xe4t'), 'save it as UTF-8'),
    'gzip': (gzip.compress, 'unpack it with gunzip'),
    'bzip2': (bz2.compress, 'unpack it with bunzip2'),
    'pickle': (lambda text: pickle.dumps(json.loads(text)), 'it is a binary file'),
    'Git LFS': (lambda text: b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
    'web page': (lambda text: b'\n<!DOCTYPE html>\n<html>', 'web page'),
    'CSV': (lambda text: b'image,x,y,w,h\n', 'another format'),
    'JSON Lines': (lambda text: text + b'\n' + text, 'one object a line'),
    'single quotes': (lambda text: str(json.loads(text)).encode(), 'single quotes'),
    'cut short': (lambda text: text[:-1], 'cut short'),
    'empty': (lambda text: b'', 'it is empty'),
    'blank': (lambda text: b' \n', 'it is empty'),
    'list': (lambda text: json.dumps(json.loads(text)['annotations']).encode(), 'It is a list'),
    'empty list': (lambda text: b'[]', 'It is a list'),
    'nothing in it': (lambda text: b'{}', 'It has '),
    'null': (lambda text: b'null', 'It is None'),
    'number': (lambda text: b'3', 'It is 3'),
}
"""What a file can hold, made from a good one, and words of the remedy."""


@pytest.fixture(params=FORMS)
def form(request) -> tuple[Callable[[bytes], bytes], str]:
    return FORMS[request.param]


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize('is_test', [False, True])
def test_files_of_instances_are_named_by_check_and_run(tmp_path, form, is_test):
    change, remedy = form
    coco_folder.write_coco(tmp_path, coco_folder.coco_content())
    damage(tmp_path / 'train.json', change)
    pipeline = [step for step in coco_folder.PIPELINE if step['type'] != 'RandomFlip']
    dataset = coco_folder.dataset_config(tmp_path, test_mode=is_test, pipeline=pipeline)
    assert_named(dataset, str(tmp_path / 'train.json'), remedy, is_test)


def test_panoptic_files_are_named_by_check_and_run(tmp_path, form):
    change, remedy = form
    picture = panoptic_folder.random_picture(np.random.default_rng(0), 3)
    panoptic_folder.write_panoptic(tmp_path, [picture])
    damage(tmp_path / 'panoptic.json', change)
    dataset = panoptic_folder.dataset_config(tmp_path)
    assert_named(dataset, str(tmp_path / 'panoptic.json'), remedy, is_test=False)


def assert_named(dataset: dict, file: str, remedy: str, is_test: bool) -> None:
    loader = 'test_dataloader' if is_test else 'train_dataloader'
    config = {'default_scope': 'mmdet', loader: dict(dataset=dataset)}
    checked = error_messages(check_config(config, decode=False))
    with pytest.raises(DataError) as failure:
        DATASETS.build(dataset)
    for message in (*checked, str(failure.value)):
        assert file in message
        assert remedy in message


def test_files_of_metrics_are_named(tmp_path):
    coco_folder.write_coco(tmp_path, coco_folder.coco_content())
    picture = panoptic_folder.random_picture(np.random.default_rng(0), 3)
    panoptic_folder.write_panoptic(tmp_path, [picture])
    instances = DATASETS.build(coco_folder.dataset_config(tmp_path, test_mode=True))
    panoptic = panoptic_folder.build_dataset(tmp_path, test_mode=True)
    path = tmp_path / 'other.json'
    for name, (change, remedy) in FORMS.items():
        for kind, dataset in (
            ('CompleteCocoMetric', instances),
            ('PanopticQualityMetric', panoptic),
        ):
            path.write_bytes(Path(dataset.ann_file).read_bytes())
            damage(path, change)
            metric = dict(type=kind, ann_file=str(path), seg_prefix=str(tmp_path / 'maps'))
            findings = check_evaluator('val_dataloader', dataset, metric, 'mmdet')
            messages = '; '.join(error_messages(findings))
            assert messages.count(str(path)) == 1, (name, kind)
            assert remedy in messages, (name, kind)


def test_a_folder_is_called_so(tmp_path):
    with pytest.raises(DataError, match='is a folder'):
        read_coco(str(tmp_path))
