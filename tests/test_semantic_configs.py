"""The configs under MMSegmentation can be built, and say what the recipes say."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS

import mask_dino.seg  # noqa: F401  registers the decode head

CONFIGS = sorted(
    path
    for path in Path('configs/maskdino').glob('*.py')
    if Config.fromfile(path).default_scope == 'mmseg'
)
SCHEDULES = {
    '160k': (160_000, [135_000, 150_000]),
    '90k': (90_000, [80_000, 87_000]),
    '80k': (80_000, [67_500, 75_000]),
}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
ADE20K = 'configs/maskdino/maskdino_r50_8xb2-160k_ade20k-512x512.py'
CITYSCAPES = 'configs/maskdino/maskdino_r50_8xb2-90k_cityscapes-512x1024.py'
SWIN = 'configs/maskdino/maskdino_swin-l-p4-w12-384-in22k_8xb2-160k_o365-ade20k-640x640.py'


@pytest.fixture(autouse=True, scope='module')
def scope():
    init_default_scope('mmseg')
    yield
    init_default_scope('mmdet')


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request):
    return Config.fromfile(request.param)


@pytest.fixture(
    params=[path for path in CONFIGS if 'tiny' not in path.stem], ids=lambda path: path.stem
)
def published(request):
    return Config.fromfile(request.param)


def test_published_systems_are_there():
    assert {Path(path) for path in (ADE20K, CITYSCAPES, SWIN)} < set(CONFIGS)


def test_classes_are_those_of_the_data(config):
    classes = DATASETS.get(config.train_dataloader.dataset.type).METAINFO['classes']
    head = config.model.decode_head
    assert head.num_classes == config.model.get('auxiliary_head', head).num_classes == len(classes)
    assert head.criterion.loss_cls.class_weight == [1.0] * len(classes) + [0.1]
    assert config.val_dataloader.dataset.type == config.train_dataloader.dataset.type


def test_heads_and_pipelines_can_be_built(config):
    assert (
        MODELS.build(config.model.decode_head).criterion.num_logits
        == config.model.decode_head.num_classes + 1
    )
    assert config.tta_model.type in MODELS
    for pipeline in (*(config[name].dataset.pipeline for name in LOADERS), config.tta_pipeline):
        for transform in pipeline:
            TRANSFORMS.build(transform)


def test_crops_are_of_the_size_in_the_name(published):
    size = tuple(map(int, re.search(r'(\d+)x(\d+)$', Path(published.filename).stem).groups()))
    [crop] = [
        t.crop_size for t in published.train_dataloader.dataset.pipeline if t.type == 'RandomCrop'
    ]
    assert tuple(crop) == tuple(published.model.data_preprocessor.size) == size


def test_the_schedule_is_that_of_the_name(published):
    [name] = [name for name in SCHEDULES if f'-{name}_' in published.filename]
    iterations, drops = SCHEDULES[name]
    warmup, steps = published.param_scheduler
    assert published.train_cfg.max_iters == steps.end == iterations
    assert steps.milestones == drops
    assert (warmup.end, steps.gamma) == (10, 0.1)


def test_the_optimiser_is_as_published(published):
    wrapper = published.optim_wrapper
    assert (wrapper.type, wrapper.optimizer.type) == ('OptimWrapper', 'AdamW')  # in float32
    assert (wrapper.optimizer.lr, wrapper.optimizer.weight_decay) == (1e-4, 0.05)
    assert wrapper.clip_grad.max_norm == 0.01
    assert wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1
    assert (
        8 * published.train_dataloader.batch_size == published.auto_scale_lr.base_batch_size == 16
    )


@pytest.mark.parametrize(
    ('path', 'sides', 'test_scale'),
    [
        (ADE20K, (256, 384, 512, 640, 768, 896), (2048, 512)),
        (CITYSCAPES, (512, 768, 1024, 1280, 1536, 1792), (2048, 1024)),
    ],
)
def test_images_are_tested_as_published(path, sides, test_scale):
    config = Config.fromfile(path)
    [resize] = [t.scale for t in config.test_dataloader.dataset.pipeline if t.type == 'Resize']
    assert resize == test_scale
    scales, flips, *_ = config.tta_pipeline[1].transforms
    assert tuple(t.scale for t in scales) == sides
    assert [t.prob for t in flips] == [0.0, 1.0]


def test_batch_norm_is_as_published():
    frozen, synchronised = (Config.fromfile(path).model.backbone for path in (ADE20K, CITYSCAPES))
    assert (frozen.norm_cfg.type, frozen.frozen_stages) == ('mmdet.FrozenBN', -1)
    assert (synchronised.norm_cfg.type, synchronised.norm_eval) == ('SyncBN', False)


def test_the_large_model_is_as_published():
    config = Config.fromfile(SWIN)
    head = config.model.decode_head
    assert (head.queries.num_queries, head.pixel_decoder.num_levels) == (900, 5)
    assert config.load_from
    (hook,) = config.custom_hooks
    assert hook.type == 'EMAHook'
    average = dict(type=hook.ema_type, momentum=hook.momentum, update_buffers=hook.update_buffers)
    ROOT.build(average | dict(model=torch.nn.Linear(1, 1)))
