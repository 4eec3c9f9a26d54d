"""Released systems without a reference case: their checkpoints are those of a reference case with other sizes."""

import pytest
from helpers.originals import published_shapes
from mmengine.config import Config
from test_select_config import (
    CITYSCAPES,
    CONFIGS,
    R50,
    SWIN,
    narrow_encoder,
    to_cityscapes,
    to_panoptic,
)

from mask_dino.checkpoints.io import build_model
from mask_dino.checkpoints.maskdino import from_original, to_original
from mask_dino.checkpoints.select_config import choose_config, read_architecture

# Buffers that the original makes itself.
OWN = ('criterion.empty_weight', 'relative_position_index')


@pytest.mark.parametrize(
    ('case', 'change', 'file', 'config'),
    [
        (
            'r50_instance',
            narrow_encoder,
            'hid1024_3sd1_instance_maskenhanced',
            f'{R50}_hid1024_coco.py',
        ),
        ('r50_ade20k', to_cityscapes, '3s_semantic_cityscapes', CITYSCAPES),
        ('swinl_instance', to_panoptic, '3sd1_panoptic', f'{SWIN}_coco-panoptic.py'),
    ],
)
def test_the_config_makes_the_manifest_and_reads_it_back(case, change, file, config):
    model = build_model(Config.fromfile(CONFIGS / config))
    ours = model.state_dict()
    state = to_original(ours, model).state
    shapes = {
        name: value.shape
        for name, value in change(published_shapes(case)).items()
        if not name.endswith(OWN)
    }
    assert {name: value.shape for name, value in state.items()} == shapes
    assert choose_config(read_architecture(state), f'{file}.pth', CONFIGS).path.name == config
    back = from_original(state, model).state
    assert back.keys() == ours.keys()
    assert all(value.equal(ours[name]) for name, value in back.items())
