"""Parts of a loader that cannot be built, pipelines that fail, and data that are used twice are named beforehand."""

import random

import numpy as np
import pytest
import torch
from helpers.coco_folder import PIPELINE, coco_content, dataset_config, write_coco
from mmdet.registry import DATASETS

from mask_dino.datasets.checks.config import config_problems
from mask_dino.datasets.checks.evaluators import check_evaluator, check_save_best
from mask_dino.datasets.checks.loaders import check_config
from mask_dino.datasets.checks.statistics import check_overlap, check_samples
from mask_dino.messages import error_messages

TEST_PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]


@pytest.fixture
def folder(tmp_path):
    write_coco(tmp_path, coco_content())
    return tmp_path


def problems(loader: str = 'train_dataloader', model: dict | None = None, **parts: object) -> str:
    """Return what is found in a loader, of which a part of the data set or of the loader is replaced."""
    settings = dict(sampler=dict(type='DefaultSampler'), dataset=dataset_config('data'))
    for name, value in parts.items():
        place = settings if name in ('sampler', 'batch_sampler') else settings['dataset']
        place[name] = value
    config = {'default_scope': 'mmdet', 'model': model or {}, loader: settings}
    return '; '.join(config_problems(config, [loader]))


def with_transform(**transform: object) -> list[dict]:
    return [*PIPELINE[:2], transform, PIPELINE[-1]]


def test_a_good_loader_is_silent():
    assert problems() == ''
    assert problems('val_dataloader', pipeline=TEST_PIPELINE) == ''


@pytest.mark.parametrize(
    ('parts', 'words'),
    [
        (
            dict(sampler=dict(type='InfinitSampler')),
            ['sampler.type', 'Did you mean InfiniteSampler'],
        ),
        (dict(batch_sampler=dict(type='RatioBatches')), ['batch_sampler.type', 'RatioBatches']),
        (dict(type='CheckedCocoDatset'), ['dataset.type', 'Did you mean CheckedCocoDataset']),
        (dict(pipeline=with_transform(type='RandomFlp')), ['Did you mean', 'RandomFlip']),
        (
            dict(pipeline=with_transform(type='RandomCrop', crop_size=(0, 0))),
            ['cannot be built', 'crop_size=(0, 0)'],
        ),
        (dict(metainfo=dict(classes=[dict(name='cat')])), ['metainfo.classes', 'no names']),
        (dict(metainfo=dict(classes={'cat', 'dog'})), ['metainfo.classes is a set']),
        (dict(filter_cfg=dict(filter_empty=True)), ['filter_empty,', 'filter_empty_gt']),
    ],
)
def test_what_cannot_be_built_is_named_with_its_place(parts, words):
    found = problems(**parts)
    assert all(word in found for word in words), found
    assert found.startswith('train_dataloader: ')


def test_the_config_stays_as_it_is():
    flips = [[dict(type='RandomFlip', prob=prob)] for prob in (0.0, 1.0)]
    pipeline = with_transform(type='TestTimeAug', transforms=flips)
    assert problems(pipeline=pipeline) == ''
    assert flips == [[dict(type='RandomFlip', prob=prob)] for prob in (0.0, 1.0)]


def test_images_are_normalised_once():
    twice = with_transform(type='Normalize', mean=[1.0] * 3, std=[2.0] * 3)
    model = dict(data_preprocessor=dict(mean=[1.0] * 3, std=[2.0] * 3))
    assert 'both normalise' in problems(pipeline=twice, model=model)
    assert problems(pipeline=twice) == ''


@pytest.mark.parametrize('name', ['RandomFlip', 'RandomCrop', 'mmdet.RandomFlip'])
def test_transforms_that_move_objects_stay_out_of_the_evaluation(name):
    options = dict(prob=0.5) if 'Flip' in name else dict(crop_size=(9, 9))
    pipeline = [TEST_PIPELINE[0], dict(type=name, **options), TEST_PIPELINE[1]]
    assert 'moves or removes objects' in problems('val_dataloader', pipeline=pipeline)
    assert problems('train_dataloader', pipeline=pipeline) == ''


def test_a_test_pipeline_packs_the_sizes_of_images():
    pipeline = [TEST_PIPELINE[0], dict(type='PackDetInputs', meta_keys=('img_id',))]
    assert 'img_shape, ori_shape among its meta_keys' in problems(
        'val_dataloader', pipeline=pipeline
    )


def test_a_pipeline_that_fails_or_leaves_all_out_is_named_and_draws_no_random_numbers(folder):
    flip = dict(type='RandomFlip', prob=0.5)
    orders = {
        'KeyError': [PIPELINE[1], PIPELINE[0], PIPELINE[-1]],
        'leaves out each of 3 images': with_transform(
            type='FilterAnnotations', min_gt_bbox_wh=(500, 500), keep_empty=True
        ),
        '': [*PIPELINE[:2], flip, PIPELINE[-1]],
    }
    for word, pipeline in orders.items():
        dataset = DATASETS.build(dataset_config(folder, pipeline=pipeline))
        before = (random.getstate(), np.random.get_state()[2], torch.get_rng_state().tolist())
        found = error_messages(check_samples('train_dataloader', dataset))
        assert (
            random.getstate(),
            np.random.get_state()[2],
            torch.get_rng_state().tolist(),
        ) == before
        assert bool(found) == bool(word)
        assert all(word in message for message in found)


def test_images_in_training_and_validation_are_told(folder):
    content = coco_content(4)
    content['images'] = content['images'][2:]
    content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] > 1]
    write_coco(folder, content, 'val.json')
    train, val = (
        DATASETS.build(dataset_config(folder, file)) for file in ('train.json', 'val.json')
    )
    [finding] = check_overlap(dict(train_dataloader=train, val_dataloader=val))
    assert '1 of 2 images are also training images' in finding.message
    assert check_overlap(dict(val_dataloader=val)) == []


def test_a_wrapper_that_leaves_no_image_is_named(folder):
    wrapper = dict(type='RepeatDataset', times=0, dataset=dataset_config(folder))
    config = dict(default_scope='mmdet', train_dataloader=dict(dataset=wrapper))
    assert 'Correct times or indices of RepeatDataset' in str(check_config(config, decode=False))


def test_masks_are_checked_where_only_the_metric_reads_them(folder):
    content = coco_content()
    for annotation in content['annotations']:
        annotation['segmentation'] = None
    write_coco(folder, content)
    options = dict(test_mode=True, pipeline=TEST_PIPELINE)
    dataset = DATASETS.build(dataset_config(folder, **options))
    metric = dict(type='CompleteCocoMetric', ann_file=str(folder / 'train.json'))
    for kind, count in (('bbox', 0), (['bbox', 'segm'], 2)):
        findings = check_evaluator('val_dataloader', dataset, metric | dict(metric=kind), 'mmdet')
        assert len(error_messages(findings)) == count


def test_figures_that_early_stopping_waits_for_exist(folder):
    dataset = DATASETS.build(dataset_config(folder, test_mode=True))
    metric = dict(type='CompleteCocoMetric', ann_file=str(folder / 'train.json'))
    for monitor, count in (('coco/bbox_mAP', 0), ('coco/mAP', 1)):
        hooks = [dict(type='EarlyStoppingHook', monitor=monitor)]
        config = dict(default_scope='mmdet', val_evaluator=metric, custom_hooks=hooks)
        findings = error_messages(check_save_best(config, dataset))
        assert len(findings) == count
        assert all(monitor in message for message in findings)


def test_validation_data_are_in_test_mode(folder):
    config = dict(
        default_scope='mmdet',
        val_dataloader=dict(dataset=dataset_config(folder, pipeline=TEST_PIPELINE)),
    )
    assert 'Write test_mode=True' in str(check_config(config, decode=False))
