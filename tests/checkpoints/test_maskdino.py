"""Nothing of a checkpoint is lost, and nothing of the model is left to chance."""

import re

import pytest
import torch
from helpers.originals import config, names, state_for
from torch import nn

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.io import build_model
from mask_dino.checkpoints.level_order import Levels
from mask_dino.checkpoints.maskdino import from_original

ENCODER = 'sem_seg_head.pixel_decoder.transformer'
PREDICTOR = 'sem_seg_head.predictor'
PROJECTION = 'sem_seg_head.pixel_decoder.input_proj'


@pytest.fixture(scope='module')
def model():
    return build_model(config())


@pytest.fixture
def state(model):
    return state_for(model)


def error(state, model):
    with pytest.raises(CheckpointError) as caught:
        from_original(state, model)
    return str(caught.value)


def listed(state, model, kind):
    """The names under one heading of the message."""
    _, _, names = error(state, model).partition(f'\n{kind}:\n')
    return [line.strip() for line in names.splitlines() if line.startswith('  ')]


def test_every_tensor_is_used_and_every_parameter_filled(state, model):
    converted = from_original(state, model)
    build_model(config()).load_state_dict(converted.state, strict=True)
    assert converted.ignored == ['criterion.empty_weight']
    filled = {name for name in model.state_dict() if not name.endswith('num_batches_tracked')}
    assert converted.state.keys() - filled == set(converted.derived)
    values = sorted(value.sum().item() for name, value in converted.state.items() if name in filled)
    unique = {
        value.data_ptr(): value for name, value in state.items() if name != 'criterion.empty_weight'
    }
    assert values == pytest.approx(
        sorted(value.sum().item() for value in unique.values()), abs=1e-4
    )


def test_unknown_tensor(state, model):
    state['sem_seg_head.predictor.surprise.weight'] = torch.zeros(3)
    state['backbone.fc.bias'] = torch.zeros(3)
    assert listed(state, model, '2 unknown') == [
        'backbone.fc.bias',
        'sem_seg_head.predictor.surprise.weight',
    ]


def test_tensor_without_a_place_in_this_model(state, model):
    state[f'{PREDICTOR}.query_feat.weight'] = torch.zeros(20, 32)
    assert listed(state, model, '1 unknown') == [f'{PREDICTOR}.query_feat.weight']


@pytest.mark.parametrize(
    ('original', 'ours'),
    [
        ('backbone.res4.2.conv2.norm.running_var', 'backbone.layer3.2.bn2.running_var'),
        (f'{ENCODER}.level_embed', 'panoptic_head.pixel_decoder.level_embed'),
        (f'{PROJECTION}.1.0.weight', 'panoptic_head.pixel_decoder.input_convs.1.conv.weight'),
        (f'{PREDICTOR}.enc_output_norm.bias', 'panoptic_head.queries.proj.1.bias'),
        (
            f'{PREDICTOR}.decoder.layers.1.norm2.weight',
            'panoptic_head.decoder.layers.1.norms.0.weight',
        ),
    ],
)
def test_missing_tensor(state, model, original, ours):
    del state[original]
    assert listed(state, model, '1 missing') == [ours]


@pytest.mark.parametrize(
    'name',
    [
        'backbone.stem.conv1.weight',
        f'{ENCODER}.level_embed',
        f'{PREDICTOR}.class_embed.weight',
        f'{PREDICTOR}.decoder.layers.0.cross_attn.sampling_offsets.weight',
    ],
)
def test_wrong_shape(state, model, name):
    right, state[name] = tuple(state[name].shape), state[name][:-1]
    (line,) = listed(state, model, '1 of another shape')
    assert line.startswith(f'{name} {tuple(state[name].shape)}') and line.endswith(str(right))


def test_all_problems_at_once(state, model):
    del state[f'{PREDICTOR}.label_enc.weight']
    state['extra'] = torch.zeros(1)
    state[f'{PREDICTOR}.class_embed.bias'] = torch.zeros(7)
    message = error(state, model)
    assert all(
        word in message for word in ('extra', 'denoising.label_embed.weight', '(7,)', '(5,)')
    )


def test_copies_that_differ(state, model):
    name = f'{PREDICTOR}.bbox_embed.3.layers.1.weight'
    state[name] = state[name] + 1e-3
    message = error(state, model)
    assert name in message and 'box_embed.layers.1.weight' in message and 'differ' in message


@pytest.mark.parametrize(
    'kept', [r'decoder\.bbox_embed\.\d', r'decoder\.bbox_embed\.0', '_bbox_embed']
)
def test_box_branch_under_fewer_names(state, model, kept):
    """As detrex stores it, below the decoder alone, or just once."""
    fewer = {
        name: value
        for name, value in state.items()
        if 'bbox_embed' not in name or re.match(rf'{re.escape(PREDICTOR)}\.{kept}\.layers', name)
    }
    assert 0 < len(fewer) < len(state)
    expected = from_original(state, model).state
    for name, value in from_original(fewer, model).state.items():
        assert value.equal(expected[name]), name


def test_other_models_are_told_apart(model):
    assert 'not a Mask DINO' in error({'layer1.0.conv1.weight': torch.zeros(1)}, model)
    assert 'the config does not describe a Mask DINO' in error({}, nn.Linear(1, 1))


def test_head_of_a_segmentor(state, model):
    """The same head under the name it has in MMSegmentation."""
    segmentor = nn.Module()
    segmentor.backbone, segmentor.decode_head = model.backbone, model.panoptic_head
    expected = from_original(state, model).state
    for name, value in from_original(state, segmentor).state.items():
        assert value.equal(expected[name.replace('decode_head', 'panoptic_head')]), name


def test_order_of_levels(state, model):
    """Laid out from coarse to fine, the same weights convert to the same model but for the sizes of proposals."""
    sizes = [0.05, 0.1, 0.2, 0.4]
    other = build_model(config(queries=dict(anchor_sizes=sizes)))
    expected = from_original(state, model).state
    for name, value in from_original(coarse_first(state), other).state.items():
        if not name.endswith('num_batches_tracked'):
            assert value.equal(expected[name]), name


def coarse_first(state):
    """Turn round the levels of the encoder, and with them those of the decoder, which sees the reverse."""
    turned = {}
    for name, value in state.items():
        if name.startswith(f'{PROJECTION}.') and (level := int(name.split('.')[3])) < 3:
            name = name.replace(f'{PROJECTION}.{level}.', f'{PROJECTION}.{2 - level}.')
        if name.endswith('level_embed'):
            value = torch.stack([value[level] for level in (3, 2, 1, 0)])
        if 'sampling_offsets' in name or 'attention_weights' in name:
            per_head = [head.chunk(4) for head in value.chunk(8)]
            value = torch.cat([torch.cat(levels[::-1]) for levels in per_head])
        turned[name] = value
    return turned


def test_proposals_of_another_order_of_levels(state, model):
    message = error(coarse_first(state), model)
    assert 'anchor_sizes=[0.05, 0.1, 0.2, 0.4]' in message and '[0.4, 0.2, 0.1, 0.05]' in message


def test_what_tells_the_order_of_levels_is_said():
    assert (
        str(Levels((64, 32), 0))
        == 'coarse to fine (high2low), as the channels of their projections show'
    )
    assert str(Levels((32, 32), 1)) == 'fine to coarse (low2high), assumed: no channels show it'


def test_several_further_levels(state, model):
    for part in ('0.weight', '0.bias', '1.weight', '1.bias'):
        state[f'{PROJECTION}.4.{part}'] = state[f'{PROJECTION}.3.{part}']
    assert '2 encoder levels beyond the backbone' in error(state, model)


def test_published_names_are_covered():
    """The tests above change names of a real checkpoint."""
    published = set(names())
    assert {
        f'{PREDICTOR}._bbox_embed.layers.0.bias',
        f'{PREDICTOR}.decoder.bbox_embed.8.layers.0.bias',
    } <= published
