"""Backbones are converted as mmdet's own converter does it."""

import torch
from helpers.originals import names
from mmdet.models.backbones.swin import swin_converter

from mask_dino.checkpoints.level_order import Levels, reorder_tensors
from mask_dino.checkpoints.maskdino_names import CONSTANTS, list_names, rename_tensors


def test_swin():
    state = {
        name: torch.randn(8, 16) for name in names('swinl_instance') if name.startswith('backbone.')
    }
    merging = [name for name in state if 'downsample' in name]
    assert len(merging) == 9
    for name in merging:
        state[name] = torch.randn(6, 16) if 'reduction' in name else torch.randn(16)
    renamed = rename_tensors(
        reorder_tensors(state, Levels((8, 16), 0), num_heads=8),
        list_names('panoptic_head'),
        CONSTANTS,
    )
    expected = swin_converter(
        {name.removeprefix('backbone.'): value for name, value in state.items()}
    )
    assert not renamed.unknown
    assert renamed.dropped == [name for name in state if name.endswith('relative_position_index')]
    assert renamed.state.keys() == {
        name for name in expected if not name.endswith('relative_position_index')
    }
    assert all(value.equal(expected[name]) for name, value in renamed.state.items())
