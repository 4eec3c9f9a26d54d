"""The published files find their configs."""

from pathlib import Path

import pytest
import torch
from helpers.originals import config, published_shapes, state_for
from mmengine.config import Config

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.io import build_model
from mask_dino.checkpoints.select_config import (
    choose_config,
    list_unseen_settings,
    read_architecture,
    read_config_architecture,
)

CONFIGS = Path(__file__).parents[2] / 'configs' / 'maskdino'
R50 = 'maskdino_r50_8xb2-lsj-50e'
SWIN = 'maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-50e'
ADE20K = 'maskdino_r50_8xb2-160k_ade20k-512x512.py'
CITYSCAPES = 'maskdino_r50_8xb2-90k_cityscapes-512x1024.py'
ENCODER = 'sem_seg_head.pixel_decoder.transformer.encoder'


def narrow_encoder(state):
    """Halve the feed-forward layers of the encoder, as in the published model with 1024."""
    for name, value in state.items():
        if name.startswith(ENCODER) and '.linear' in name and value.shape != (256,):
            state[name] = torch.zeros(()).expand(
                [1024 if size == 2048 else size for size in value.shape]
            )
    return state


def three_levels(state):
    """Take the extra level off the smaller model, and turn the others round, as the original's configuration has it."""
    projection = 'sem_seg_head.pixel_decoder.input_proj'
    state = {
        name: value
        for name, value in narrow_encoder(state).items()
        if not name.startswith(f'{projection}.3.')
    }
    ends = [f'{projection}.{level}.0.weight' for level in (0, 2)]
    state[ends[0]], state[ends[1]] = state[ends[1]], state[ends[0]]
    return state


def with_classes(state, num_classes, num_logits):
    """Give a checkpoint other classes."""
    for name, rows in (('label_enc.weight', num_classes), ('class_embed.weight', num_logits)):
        state[f'sem_seg_head.predictor.{name}'] = torch.zeros(()).expand(rows, 256)
    return state | {'sem_seg_head.predictor.class_embed.bias': torch.zeros(num_logits)}


def to_panoptic(state):
    """Give a checkpoint the things and stuff of COCO."""
    return with_classes(state, 133, 133)


def to_cityscapes(state):
    """Give a checkpoint the classes of Cityscapes and no object."""
    return with_classes(state, 19, 20)


@pytest.mark.parametrize(
    ('case', 'change', 'file', 'chosen'),
    [
        (
            'r50_instance',
            None,
            '_hid2048_3sd1_instance_maskenhanced_mask46.3ap_box51.7ap.pth',
            f'{R50}_coco.py',
        ),
        ('r50_instance', None, '_hid2048_3sd1_instance.pth', f'{R50}_no-mask-box_coco.py'),
        (
            'r50_instance',
            narrow_encoder,
            '_hid1024_3sd1_instance_maskenhanced.pth',
            f'{R50}_hid1024_coco.py',
        ),
        ('r50_instance', narrow_encoder, 'renamed.pth', f'{R50}_hid1024_coco.py'),
        (
            'r50_instance',
            three_levels,
            '_hid1024_3sd1_instance_maskenhanced.pth',
            f'{R50}_hid1024-3s_coco.py',
        ),
        (
            'swinl_instance',
            None,
            '_instance_maskenhanced_mask52.3ap_box59.0ap.pth',
            f'{SWIN}_coco.py',
        ),
        (
            'swinl_instance',
            None,
            '_instance_mask52.1ap_box58.3ap.pth',
            f'{SWIN}_no-mask-box_coco.py',
        ),
        ('r50_panoptic', None, '_hid2048_3sd1_panoptic_pq53.0.pth', f'{R50}_coco-panoptic.py'),
        (
            'swinl_instance',
            to_panoptic,
            '_hid2048_3sd1_panoptic_58.3pq.pth',
            f'{SWIN}_coco-panoptic.py',
        ),
        ('r50_ade20k', None, '_celoss_hid1024_3s_semantic_ade20k_48.7miou.pth', ADE20K),
        (
            'r50_ade20k',
            to_cityscapes,
            '_celoss_hid1024_3s_semantic_cityscapes_79.8miou.pth',
            CITYSCAPES,
        ),
    ],
)
def test_published_files(case, change, file, chosen):
    state = published_shapes(case)
    architecture = read_architecture(change(state) if change else state)
    choice = choose_config(architecture, file, CONFIGS)
    assert choice.path.name == chosen
    assert read_config_architecture(Config.fromfile(choice.path)) == architecture


def test_reasons_are_given():
    architecture = read_architecture(published_shapes('r50_instance'))
    enhanced, plain = (
        choose_config(architecture, name, CONFIGS).reason for name in ('maskenhanced', 'other')
    )
    assert "says 'maskenhanced'" in enhanced and 'longest schedule' in enhanced
    assert "does not say 'maskenhanced'" in plain


def test_no_config_fits(tmp_path):
    architecture = read_architecture(published_shapes('r50_ade20k'))
    with pytest.raises(CheckpointError) as caught:
        choose_config(architecture, 'x.pth', tmp_path)
    message = str(caught.value)
    read = (
        'ResNet of 3-4-6-3 blocks',
        '3 encoder levels',
        'FFN 1024',
        '150 classes',
        '151 logits',
        '100 learned',
    )
    assert all(word in message for word in (*read, str(tmp_path), '--config'))


def test_every_config_is_understood():
    for path in CONFIGS.glob('*.py'):
        settings = Config.fromfile(path)
        architecture = read_config_architecture(settings)
        # None is that of the original with branches of their own for encoder tokens.
        assert (architecture is None) == ('_dino-' in path.name)
        assert architecture is None or architecture.num_classes > 0, path.name
        assert list_unseen_settings(settings), path.name


def test_other_configs_in_the_folder(tmp_path):
    """Neither models of another kind nor files without a model are in the way."""
    settings = config()
    (tmp_path / 'none.py').write_text('x = 1')
    (tmp_path / 'other.py').write_text("model = dict(type='A', decode_head=dict(type='B'))")
    settings.dump(tmp_path / 'this.py')
    architecture = read_architecture(state_for(build_model(settings)))
    assert choose_config(architecture, 'x.pth', tmp_path) == (
        tmp_path / 'this.py',
        'the only one for this architecture',
    )


def test_semantic_models_of_mmseg():
    """A decode head counts its classes in one number, and cross-entropy has a logit more."""
    head = dict(
        num_classes=150,
        pixel_decoder=dict(
            in_channels=[256, 512, 1024, 2048], num_levels=3, feedforward_channels=1024
        ),
        queries=dict(type='LearnedQueries', num_queries=100),
        criterion=dict(loss_cls=dict(type='CrossEntropyLoss')),
    )
    settings = Config(dict(model=dict(backbone=dict(type='ResNet', depth=50), decode_head=head)))
    assert read_config_architecture(settings) == read_architecture(published_shapes('r50_ade20k'))


@pytest.mark.parametrize(
    'part', ['pixel_decoder.input_proj', 'label_enc', 'encoder.layers.0.linear1', 'backbone']
)
def test_parts_that_are_missing(part):
    state = {
        name: value for name, value in published_shapes('r50_instance').items() if part not in name
    }
    with pytest.raises(CheckpointError):
        read_architecture(state)
