"""Pipelines that load masks and have a transform that loses them are refused before the first step."""

import logging

import pytest

from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.datasets.checks.pipelines import (
    BOXES_ONLY,
    check_loading,
    check_mask_transforms,
)


def pipelines(name: str, with_mask: bool = True) -> dict:
    """Return a config in which a wrapper of the data set has the transform."""
    loading = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=with_mask),
    ]
    inner = dict(type='CheckedCocoDataset', pipeline=loading)
    wrapper = dict(
        type='MultiImageMixDataset',
        dataset=inner,
        pipeline=[dict(type=name), dict(type='PackDetInputs')],
    )
    return dict(train_dataloader=dict(batch_size=2, dataset=wrapper))


@pytest.mark.parametrize('name', [*BOXES_ONLY, 'mmdet.Mosaic'])
def test_a_transform_that_loses_masks_is_an_error_that_names_others(name):
    [finding] = check_mask_transforms(pipelines(name))
    assert finding.level == logging.ERROR
    assert f'train_dataloader: {name.removeprefix("mmdet.")} loses' in finding.message
    assert 'CachedMosaic' in finding.message


def test_so_it_is_for_panoptic_data():
    config = pipelines('Mosaic', with_mask=False)
    config['train_dataloader']['dataset']['dataset']['pipeline'][1] = dict(
        type='LoadCocoPanopticAnnotations'
    )
    assert len(check_mask_transforms(config)) == 1


@pytest.mark.parametrize(
    'config', [pipelines('Mosaic', with_mask=False), pipelines('CachedMosaic'), {}]
)
def test_data_without_masks_and_transforms_that_keep_them_pass(config):
    assert check_mask_transforms(config) == []


def test_both_are_errors_before_the_first_step():
    config = pipelines('Mosaic') | dict(image_size=(512, 512))
    messages = [
        finding.message
        for finding in check_loaders({}, config, None)
        if finding.level == logging.ERROR
    ]
    assert any('Mosaic loses the masks' in message for message in messages)
    assert any('image_size=(512, 512) has no effect' in message for message in messages)


MASK_LOSSES = dict(panoptic_head=dict(criterion=dict(loss_mask=dict(type='CrossEntropyLoss'))))
NO_MASK_LOSSES = dict(panoptic_head=dict(criterion=dict(loss_mask=None)))


@pytest.mark.parametrize(
    ('model', 'with_mask', 'count'),
    [(MASK_LOSSES, False, 1), (MASK_LOSSES, True, 0), (NO_MASK_LOSSES, False, 0), (None, False, 0)],
)
def test_mask_losses_need_masks(model, with_mask, count):
    findings = check_loading(pipelines('CachedMosaic', with_mask) | dict(model=model))
    assert len(findings) == count
    assert all('loads no masks' in finding.message for finding in findings)


def test_a_sample_has_to_be_packed():
    config = pipelines('CachedMosaic')
    config['train_dataloader']['dataset']['pipeline'].pop()
    [finding] = check_loading(config)
    assert finding.level == logging.ERROR and 'PackDetInputs' in finding.message
    assert check_loading({}) == []
