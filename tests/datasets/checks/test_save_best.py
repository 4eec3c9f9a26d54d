"""A figure of save_best that no validation gives is named before the first step, with the figures that exist."""

import logging

import pytest
from helpers.coco_folder import CLASSES, build_dataset, coco_content, write_coco
from mmdet.registry import METRICS
from mmengine.evaluator import Evaluator

from mask_dino.datasets.checks.evaluators import check_save_best
from mask_dino.evaluation.figure_names import list_figures

AUTO_MESSAGE = 'does not know whether larger values of it are better'


@pytest.fixture
def dataset(tmp_path):
    """Three images with small objects only."""
    write_coco(tmp_path, coco_content())
    return build_dataset(tmp_path, test_mode=True)


def metric(dataset, **options: object) -> dict:
    return (
        dict(type='CompleteCocoMetric', ann_file=dataset.ann_file, metric=['bbox', 'segm'])
        | options
    )


def config(evaluator: object, save_best: object, **hook: object) -> dict:
    checkpoint = dict(type='CheckpointHook', save_best=save_best, **hook)
    return dict(
        default_scope='mmdet', val_evaluator=evaluator, default_hooks=dict(checkpoint=checkpoint)
    )


@pytest.mark.parametrize(
    'save_best',
    ['coco/bbox_mAP', 'coco/segm_mAP_s', ['coco/bbox_mAP', 'coco/segm_mAP'], 'auto', None],
)
def test_figures_that_exist_are_silent(dataset, save_best):
    assert check_save_best(config(metric(dataset), save_best), dataset) == []


@pytest.mark.parametrize(
    'save_best',
    ['coco/bbox_mAP_l', 'bbox_mAP', 'coco/segm_AP', ['coco/bbox_mAP', 'coco/bbox_mAP_m']],
    ids=['no large object', 'no prefix', 'misspelt', 'one of two'],
)
def test_other_figures_are_named_with_those_that_there_will_be(dataset, save_best):
    [finding] = check_save_best(config([metric(dataset)], save_best), dataset)
    absent = save_best if isinstance(save_best, str) else save_best[-1]
    assert finding.level == logging.ERROR
    assert (
        f'save_best: there will be no figure {absent}. The validation gives coco/bbox_mAP,'
        in finding.message
    )
    assert 'coco/segm_mAP_s.' in finding.message and 'mAP_l,' not in finding.message


def test_a_first_figure_of_unknown_direction_needs_a_rule(dataset):
    quality = dict(type='PanopticQualityMetric', ann_file=dataset.ann_file, seg_prefix='maps')
    [finding] = check_save_best(config(quality, 'auto'), dataset)
    assert AUTO_MESSAGE in finding.message and 'coco_panoptic/PQ' in finding.message
    assert check_save_best(config(quality, 'auto', rule='greater'), dataset) == []


def test_of_metrics_of_other_packages_nothing_is_said(dataset):
    assert (
        check_save_best(config(dict(type='DumpDetResults', out_file_path='a.pkl'), 'x'), dataset)
        == []
    )


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(metric='bbox', iou_thrs=[0.5]),
        dict(metric='proposal', proposal_nums=(1, 5)),
        dict(metric=['proposal_fast', 'segm'], metric_items=['mAP', 'mAP_l', 'AR_s@100']),
        dict(prefix='mine'),
    ],
    ids=str,
)
def test_the_names_are_those_of_an_evaluation(dataset, options):
    settings = metric(dataset, **options)
    evaluator = Evaluator([METRICS.build(settings)])
    evaluator.dataset_meta = dict(classes=CLASSES)
    figures = evaluator.evaluate(len(dataset))
    assert list_figures([settings], dict(classes=CLASSES), 'mmdet') == list(figures)
