"""What is converted can be converted back, to the bit."""

import pytest
import torch
from helpers.originals import config, state_for
from helpers.reference import CASES, CONFIGS, original_state
from mmengine.config import Config

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.io import build_model
from mask_dino.checkpoints.level_order import Levels, reorder_tensors
from mask_dino.checkpoints.maskdino import from_original, to_original
from mask_dino.checkpoints.maskdino_names import COPIES, list_names


@pytest.mark.parametrize('case', ['r50_instance', 'r50_ade20k'])
def test_published_models_come_back_to_the_bit(case):
    original = original_state(case)
    model = build_model(Config.fromfile(CONFIGS / CASES[case]))
    converted = from_original(original, model)
    restored = to_original(converted.state, model).state
    assert original.keys() - restored.keys() == set(converted.ignored) == {'criterion.empty_weight'}
    assert not restored.keys() - original.keys()
    assert all(value.equal(original[name]) for name, value in restored.items())


def test_merged_pixels_of_swin_come_back():
    names = ('reduction.weight', 'norm.weight', 'norm.bias')
    state = {f'backbone.layers.0.downsample.{name}': torch.randn(8, 16) for name in names}
    levels = Levels((8, 16), 0)
    there = reorder_tensors(state, levels, num_heads=8)
    back = reorder_tensors(there, levels, num_heads=8, reverse=True)
    assert all(value.equal(state[name]) for name, value in back.items())
    assert not any(value.equal(state[name]) for name, value in there.items())


def test_no_two_names_of_one_side_are_one_of_the_other():
    table = list_names('panoptic_head')
    assert (
        len({pair.source for pair in table}) == len({pair.target for pair in table}) == len(table)
    )
    assert {first for first, _ in COPIES} <= {pair.source for pair in table}


def test_weights_of_another_model_are_refused():
    model = build_model(config())
    state = from_original(state_for(model), model).state
    del state['backbone.conv1.weight']
    state['panoptic_head.queries.proj.0.bias'] = torch.zeros(7)
    problems = r'(?s)1 missing:\n  backbone.conv1.weight.*1 of another shape:\n  panoptic_head.queries.proj.0.bias'
    with pytest.raises(CheckpointError, match=problems):
        to_original(state, model)
