"""Frozen batch norms in the convolutions before them: the same values and gradients, and nothing else changes."""

import copy

import pytest
import torch
from mmdet.models.backbones import ResNet, ResNeXt
from mmdet.models.layers import FrozenBatchNorm2d

from mask_dino.ops.frozen_norms import AppliedNorm, NormalisingConv2d, fold_frozen_norms

FROZEN = dict(type='FrozenBN')
BACKBONES = {
    'basic blocks': (ResNet, dict(depth=18)),
    'bottlenecks': (ResNet, dict(depth=50)),
    'deep stem': (ResNet, dict(depth=18, deep_stem=True, avg_down=True)),
    'frozen stages': (ResNet, dict(depth=18, frozen_stages=1)),
    'checkpointed': (ResNet, dict(depth=50, with_cp=True)),
    'groups': (ResNeXt, dict(depth=50, groups=4, base_width=4)),
}


def build(name: str, **options: object) -> torch.nn.Module:
    """Return a narrow backbone whose frozen norms do something."""
    cls, settings = BACKBONES[name]
    backbone = cls(**dict(base_channels=8, norm_cfg=FROZEN, norm_eval=True) | settings | options)
    for norm in backbone.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            for values in (norm.weight, norm.running_var):
                values.uniform_(0.5, 1.5)
            for values in (norm.bias, norm.running_mean):
                values.normal_(0, 0.1)
    backbone.train()  # mmdet's returns nothing
    return backbone.double()


def fold(backbone: torch.nn.Module) -> torch.nn.Module:
    folded = copy.deepcopy(backbone)
    fold_frozen_norms(folded)
    return folded


def gradients(backbone: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    sum(level.square().sum() for level in backbone(images)).backward()
    return {name: p.grad for name, p in backbone.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('name', BACKBONES)
def test_values_and_gradients_are_the_same(name):
    backbone = build(name)
    folded = fold(backbone)
    assert not any(type(module) is FrozenBatchNorm2d for module in folded.modules())
    assert len(list(folded.parameters())) == len(list(backbone.parameters()))
    images = torch.randn(2, 3, 64, 48, dtype=torch.double)
    with torch.no_grad():
        for level, expected in zip(folded(images), backbone(images), strict=True):
            torch.testing.assert_close(level, expected)
    for level, expected in zip(folded(images), backbone(images), strict=True):
        torch.testing.assert_close(level, expected)
    expected = gradients(backbone, images)
    found = gradients(folded, images)
    assert found.keys() == expected.keys()
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient)


def test_images_have_a_gradient():
    backbone = build('basic blocks')
    images = torch.randn(1, 3, 32, 32, dtype=torch.double)
    found = []
    for model in (backbone, fold(backbone)):
        leaf = images.clone().requires_grad_()
        gradients(model, leaf)
        found.append(leaf.grad)
    torch.testing.assert_close(*found)


def test_checkpoints_fit_before_and_after():
    backbone = build('bottlenecks')
    folded = fold(build('bottlenecks'))
    assert list(folded.state_dict()) == list(backbone.state_dict())
    folded.load_state_dict(backbone.state_dict())
    images = torch.randn(1, 3, 32, 32, dtype=torch.double)
    torch.testing.assert_close(folded(images)[-1], backbone(images)[-1])
    copied = copy.deepcopy(folded)
    copied.bn1.running_mean += 1
    assert not torch.allclose(copied(images)[0], folded(images)[0])


@pytest.mark.parametrize('grad', [True, False])
def test_mixed_precision_keeps_the_types_of_the_parameters(grad):
    backbone = build('basic blocks').float()
    folded = fold(backbone)
    images = torch.randn(1, 3, 64, 64)
    with torch.autocast('cpu', torch.bfloat16), torch.set_grad_enabled(grad):
        level, expected = folded(images)[-1], backbone(images)[-1]
    assert level.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(level, expected, atol=0.1, rtol=0.1)
    if grad:
        level.float().sum().backward()
        assert folded.conv1.weight.grad.dtype == torch.float32


def test_other_norms_and_convolutions_stay():
    trained = ResNet(depth=18, base_channels=8, norm_cfg=dict(type='BN'))
    assert [type(module) for module in fold(trained).modules()] == [
        type(module) for module in trained.modules()
    ]
    owner = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), FrozenBatchNorm2d(2), torch.nn.ReLU(), FrozenBatchNorm2d(2)
    )
    assert not any(isinstance(m, NormalisingConv2d | AppliedNorm) for m in fold(owner).modules())
