"""Published DINOs find a config that takes all they have."""

import functools
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.dino import MASK_BRANCH, from_dino
from mask_dino.checkpoints.io import build_model
from mask_dino.checkpoints.select_config import choose_detector_config

CONFIGS = Path('configs/maskdino')
FIVE = dict(
    num_feature_levels=5,
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[256, 512, 1024, 2048], num_outs=5),
    encoder=dict(layer_cfg=dict(self_attn_cfg=dict(num_levels=5))),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=dict(num_levels=5))),
)


@pytest.fixture(autouse=True)
def without_memory(monkeypatch):
    """Models take no memory and no time here; Swin computes with this one function."""
    monkeypatch.setattr(torch, 'linspace', functools.partial(torch.linspace, device='cpu'))
    with torch.device('meta'):
        yield


def published(name, **options):
    """The tensors of a DINO of mmdet."""
    init_default_scope('mmdet')
    config = Config.fromfile(Path(mmdet.__path__[0], '.mim', 'configs', 'dino', f'{name}.py'))
    config.merge_from_dict(dict(model=options))
    return MODELS.build(config.model).state_dict()


@pytest.mark.parametrize(
    ('name', 'options', 'chosen'),
    [
        ('dino-4scale_r50_8xb2-12e_coco', {}, 'maskdino_r50_8xb2-lsj-12e_dino-coco.py'),
        ('dino-4scale_r50_8xb2-12e_coco', FIVE, 'maskdino_r50_8xb2-lsj-12e_dino-5scale-coco.py'),
        (
            'dino-5scale_swin-l_8xb2-12e_coco',
            {},
            'maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-12e_dino-5scale-coco.py',
        ),
    ],
)
def test_published_detectors_fill_all_but_the_mask_branch(name, options, chosen):
    state = published(name, **options)
    path = choose_detector_config(state, CONFIGS)
    assert path.name == chosen
    model = build_model(Config.fromfile(path))
    found = from_dino(state, model)
    assert found.differences == []
    new = sum(any(part in name for part in MASK_BRANCH) for name in model.state_dict())
    assert sum(total - taken for taken, total in found.coverage.values()) == new
    # Weight and bias of the class branches of all layers but the last.
    assert len(found.dropped) == 5 * 2


def test_a_detector_without_a_config_is_described():
    state = published('dino-4scale_r50_8xb2-12e_coco', backbone=dict(depth=101))
    with pytest.raises(
        CheckpointError, match=r'4 levels over a backbone of 3-4-23-3 blocks.*--config'
    ):
        choose_detector_config(state, CONFIGS)
    with pytest.raises(CheckpointError, match='no DINO'):
        choose_detector_config({}, CONFIGS)
