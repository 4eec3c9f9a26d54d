"""Configs of panoptic models on whatever data: classes are counted right, and every kind of result is evaluated."""

from pathlib import Path

import pytest
from mmdet.registry import DATASETS, METRICS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mask_dino.det  # noqa: F401  registers the data sets

CONFIGS = sorted(Path('configs/maskdino').glob('*panoptic.py'))
ITERATIONS = {'160k': (160_000, [135_000, 150_000]), '90k': (90_000, [80_000, 87_000])}
KEYS = ['coco_panoptic', 'coco', 'coco_semantic', 'coco_stuff']


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request):
    init_default_scope('mmdet')
    return Config.fromfile(request.param)


def test_classes_are_those_of_the_data(config):
    kinds = []
    for loader in (config.train_dataloader, config.val_dataloader):
        classes = DATASETS.get(loader.dataset.type).METAINFO | loader.dataset.get('metainfo', {})
        assert (*classes['thing_classes'], *classes['stuff_classes']) == tuple(classes['classes'])
        assert len(classes['palette']) == len(classes['classes'])
        kinds.append((len(classes['thing_classes']), len(classes['stuff_classes'])))
    for head in (config.model.panoptic_head, config.model.panoptic_fusion_head):
        assert kinds == [(head.num_things_classes, head.num_stuff_classes)] * 2


def test_stuff_is_decoupled_and_every_result_is_on_and_evaluated(config):
    assert config.model.panoptic_head.criterion.decouple_stuff
    assert all(
        config.model.test_cfg[f'{kind}_on']
        for kind in ('instance', 'panoptic', 'semantic', 'stuff')
    )
    assert [METRICS.get(metric.type).default_prefix for metric in config.val_evaluator] == KEYS
    assert config.test_evaluator == config.val_evaluator


def test_maps_are_padded_with_void_wherever_images_are(config):
    pipeline = config.train_dataloader.dataset.pipeline
    assert [transform.pad_val.seg for transform in pipeline if transform.type == 'Pad'] == [255]
    assert config.model.data_preprocessor.seg_pad_value == 255
    for loader in (config.train_dataloader, config.val_dataloader):
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)


@pytest.mark.parametrize('name', ITERATIONS)
def test_schedules_counted_in_iterations_are_those_of_the_name(name):
    paths = [path for path in CONFIGS if f'-{name}_' in path.stem]
    assert paths
    for config in map(Config.fromfile, paths):
        assert (config.train_cfg.max_iters, config.param_scheduler[1].milestones) == ITERATIONS[
            name
        ]
        assert config.param_scheduler[1].end == config.train_cfg.max_iters
