"""Every config can be built, and says what the recipes say."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mask_dino.det  # noqa: F401  registers the model
from mask_dino.datasets.shapes import CLASSES, PALETTE, STUFF, THINGS

CONFIGS = sorted(Path('configs/maskdino').glob('*.py'))
COCO = [path for path in CONFIGS if path.stem.endswith(('coco', 'coco-panoptic'))]
TRAIN2017 = 118_287
BATCH = 16


@pytest.fixture(params=COCO, ids=lambda path: path.stem)
def coco(request):
    init_default_scope('mmdet')
    return Config.fromfile(request.param)


def test_published_systems_are_there():
    swin = 'maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-50e'
    expected = {
        'maskdino_r50_8xb2-lsj-50e_coco',
        'maskdino_r50_8xb2-lsj-50e_hid1024_coco',
        'maskdino_r50_8xb2-lsj-50e_no-mask-box_coco',
        'maskdino_r50_8xb2-lsj-12e_coco',
        'maskdino_r50_8xb2-lsj-24e_coco',
        f'{swin}_coco',
        f'{swin}_no-mask-box_coco',
        'maskdino_r50_8xb2-lsj-50e_coco-panoptic',
        'maskdino_r50_8xb2-lsj-12e_coco-panoptic',
        'maskdino_r50_8xb2-lsj-24e_coco-panoptic',
        f'{swin}_coco-panoptic',
        'maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-1280-24e_o365-coco',
        'maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-1280-24e_o365-coco-panoptic',
    }
    assert expected <= {path.stem for path in COCO}


def test_the_schedule_is_that_of_the_name(coco):
    epochs = next(int(e) for e in (50, 24, 12) if f'-{e}e_' in coco.filename)
    iterations = {50: 368_750, 24: 24 * TRAIN2017 // BATCH, 12: 12 * TRAIN2017 // BATCH}[epochs]
    assert coco.train_cfg.max_iters == pytest.approx(iterations, abs=1)
    warmup, steps = coco.param_scheduler
    assert warmup.end == 10
    drops = {50: [327_778, 355_092], 24: [20 * TRAIN2017 // BATCH], 12: [11 * TRAIN2017 // BATCH]}[
        epochs
    ]
    assert steps.milestones == pytest.approx(drops, abs=1)
    assert steps.gamma == 0.1
    assert steps.end == coco.train_cfg.max_iters


def test_the_optimiser_is_as_published(coco):
    optimizer = coco.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-4, 0.05)
    assert coco.optim_wrapper.clip_grad.max_norm == 0.01
    assert coco.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1


def test_batches_make_sixteen_images(coco):
    gpus, images = (
        next(part for part in Path(coco.filename).stem.split('_') if 'xb' in part)
        .split('-')[0]
        .split('xb')
    )
    assert coco.train_dataloader.batch_size == int(images)
    assert int(gpus) * int(images) == coco.auto_scale_lr.base_batch_size == BATCH


def test_levels_and_classes_agree(coco):
    head = coco.model.panoptic_head
    fusion = coco.model.panoptic_fusion_head
    assert len(head.queries.anchor_sizes) == head.pixel_decoder.num_levels
    # As DINO, or the original in its other order of levels, has them.
    growing = any(part in coco.filename for part in ('_dino-', '-3s_'))
    assert head.queries.anchor_sizes == sorted(head.queries.anchor_sizes, reverse=not growing)
    classes = DATASETS.get(coco.train_dataloader.dataset.type).METAINFO
    things = len(classes.get('thing_classes', classes['classes']))
    assert head.num_things_classes == fusion.num_things_classes == things
    assert head.num_stuff_classes == fusion.num_stuff_classes == len(classes['classes']) - things


def test_pipelines_can_be_built(coco):
    for loader in (coco.train_dataloader, coco.val_dataloader):
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_batch_norm_is_frozen_or_there_is_none(path):
    init_default_scope('mmdet')
    backbone = Config.fromfile(path).model.backbone
    if path in COCO and backbone.type == 'ResNet':
        assert backbone.norm_cfg.type == 'mmdet.FrozenBN'
        assert backbone.frozen_stages == -1


def test_detection_of_objects365_trains_boxes_alone():
    init_default_scope('mmdet')
    config = Config.fromfile(
        'configs/maskdino/maskdino_swin-l-p4-w12-384-in22k_16xb1-26e_o365-detection.py'
    )
    assert config.train_cfg.max_iters == pytest.approx(26 * 1_742_289 / BATCH, abs=1)
    classes = DATASETS.get(config.train_dataloader.dataset.type).METAINFO['classes']
    assert config.model.panoptic_head.num_things_classes == len(classes) == 365
    model = MODELS.build(config.model)
    assert not model.panoptic_head.criterion.uses_masks
    assert not any(p.requires_grad for p in model.panoptic_head.prediction.mask_embed.parameters())
    for loader in (config.train_dataloader, config.val_dataloader):
        for transform in loader.dataset.pipeline:
            TRANSFORMS.build(transform)


@pytest.mark.parametrize(
    'path', [path for path in COCO if '_o365-' in path.stem], ids=lambda path: path.stem
)
def test_fine_tuning_starts_from_objects365_at_1280_pixels(path):
    config = Config.fromfile(path)
    sizes = {
        tuple(transform[name])
        for transform in config.train_dataloader.dataset.pipeline
        for name in ('scale', 'crop_size', 'size')
        if name in transform
    }
    assert sizes == {(1280, 1280)}
    assert config.load_from.endswith('o365-detection.pth')
    assert config.model.panoptic_head.pixel_decoder.num_levels == 5


@pytest.mark.parametrize(
    ('stem', 'millions'),
    [
        ('maskdino_r50_8xb2-lsj-50e_coco', 52),
        ('maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-50e_coco', 223),
    ],
)
def test_models_have_the_published_size(stem, millions):
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(f'configs/maskdino/{stem}.py').model)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions


def test_instance_and_panoptic_data_of_coco_differ_only_in_their_annotations():
    """The pipelines are written twice, because an inheriting config can only replace a list as a whole."""
    configs = [
        Config.fromfile(f'configs/_base_/datasets/coco_{task}_lsj.py')
        for task in ('instance', 'panoptic')
    ]
    loaders = ('LoadAnnotations', 'LoadCocoPanopticAnnotations')
    for name in ('train_pipeline', 'test_pipeline'):
        pipelines = [
            [transform for transform in config[name] if transform.type not in loaders]
            for config in configs
        ]
        assert pipelines[0] == pipelines[1]
        assert len(pipelines[0]) == len(configs[0][name]) - 1


def test_trials_of_other_models_have_the_backbone_of_the_small_model():
    """The small model inherits its backbone from R50, and the other models inherit theirs from a file of the trials."""
    init_default_scope('mmdet')
    small = Config.fromfile('configs/_base_/models/maskdino_tiny.py').model
    other = Config.fromfile('projects/mask_dino/trials/tiny_backbone.py').model
    assert other.data_preprocessor == small.data_preprocessor
    assert other.backbone == {
        name: small.backbone[name] for name in small.backbone if name != 'init_cfg'
    }
    assert small.backbone.init_cfg is None


def test_a_backbone_trained_in_one_framework_fits_the_other():
    """Both frameworks have a ResNet, with defaults of their own."""
    shapes = []
    for scope, name in (('mmdet', 'maskdino_tiny'), ('mmseg', 'maskdino_tiny_semantic')):
        backbone = Config.fromfile(f'configs/_base_/models/{name}.py').model.backbone
        with torch.device('meta'):
            weights = MODELS.build(backbone | {'_scope_': scope}).state_dict()
        shapes.append({key: tuple(value.shape) for key, value in weights.items()})
    assert shapes[0] == shapes[1]


def test_classes_and_colours_of_shapes_are_those_of_the_generator():
    things, panoptic = (
        Config.fromfile(f'configs/_base_/datasets/shapes_{task}.py').metainfo
        for task in ('instance', 'panoptic')
    )
    assert (*things.classes,) == THINGS
    assert [tuple(colour) for colour in things.palette] == list(PALETTE[: len(THINGS)])
    assert (*panoptic.thing_classes,) == THINGS and (*panoptic.stuff_classes,) == STUFF
    assert (*panoptic.classes,) == CLASSES
    assert [tuple(colour) for colour in panoptic.palette] == list(PALETTE)
