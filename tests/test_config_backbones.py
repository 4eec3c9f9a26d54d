"""Every backbone that has a config fits under the head and learns with it."""

import importlib.util
from pathlib import Path

import pytest
import torch
from helpers.tiny import NUM_CLASSES, SIZE, random_targets
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

CONFIGS = Path('configs/maskdino')
SWIN = dict(depths=[1, 1, 1, 1])
# What is shrunk where a backbone is too heavy for a test: its depth.
BACKBONES = {
    'r50_8xb2-lsj-50e': {},
    'r101_8xb2-lsj-50e': {},
    'swin-t-p4-w7-224_8xb2-lsj-50e': {},
    'swin-s-p4-w7-224_8xb2-lsj-50e': SWIN,
    'swin-b-p4-w12-384-in22k_8xb2-lsj-50e': SWIN,
    'swin-l-p4-w12-384-in22k_16xb1-lsj-50e': SWIN,
    'convnext-t_8xb2-lsj-50e': {},
    'pvtv2-b2_8xb2-lsj-50e': {},
}
HEAD = dict(
    num_things_classes=NUM_CLASSES,
    embed_dims=32,
    pixel_decoder=dict(num_layers=1, feedforward_channels=32),
    queries=dict(num_queries=20),
    decoder=dict(num_layers=2, feedforward_channels=32),
    denoising=dict(num_queries=12),
    criterion=dict(matcher=dict(num_points=128), point_sampler=dict(num_points=128)),
)


def small(path, backbone):
    """A config with its own backbone, without weights to download, under a small head."""
    config = Config.fromfile(path)
    config.merge_from_dict(
        dict(model=dict(backbone=backbone | dict(init_cfg=None), panoptic_head=HEAD))
    )
    config.model.panoptic_fusion_head.num_things_classes = NUM_CLASSES
    return config


@pytest.mark.parametrize('name', BACKBONES)
def test_a_step_of_training(name):
    config = small(CONFIGS / f'maskdino_{name}_coco.py', BACKBONES[name])
    if (
        config.model.backbone.type.startswith('mmpretrain.')
        and importlib.util.find_spec('mmpretrain') is None
    ):
        pytest.skip('mmpretrain is optional')
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    images, generator = torch.randn(2, 3, *SIZE), torch.Generator().manual_seed(0)
    losses = model.panoptic_head.loss(
        model.extract_feat(images), [random_targets(2, generator) for _ in images]
    )
    wrapper.update_params(sum(losses.values()))
    assert all(value.isfinite() for value in losses.values())
    learned = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and not p.equal(before[name])
    ]
    for part in ('backbone', 'panoptic_head.pixel_decoder', 'panoptic_head.decoder'):
        assert any(name.startswith(part) for name in learned), part
    rates = {group['lr'] for group in wrapper.optimizer.param_groups}
    assert sorted(rates) == pytest.approx([1e-5, 1e-4])


def test_composing_a_backbone_takes_few_lines(tmp_path):
    """The example of the page."""
    text = Path('docs/guides/backbones.md').read_text().partition('# Other backbones')[2]
    example = text.partition('```python\n')[2].partition('```')[0]
    (tmp_path / 'mine.py').write_text(example.replace("'./", f"'{CONFIGS.resolve()}/"))
    assert len([line for line in example.splitlines() if line]) <= 8
    init_default_scope('mmdet')
    model = MODELS.build(small(tmp_path / 'mine.py', {}).model).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, *SIZE), mode='tensor').masks.shape[2:] == (16, 24)
