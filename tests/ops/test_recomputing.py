"""``with_cp`` in backbone, encoder and decoder keeps less for the backward pass, and changes no number."""

import pytest
import torch
from helpers.tiny import build, random_targets, tiny_config
from mmdet.registry import MODELS

BACKBONE = dict(
    type='SwinTransformer',
    embed_dims=12,
    depths=[1, 1, 1, 1],
    num_heads=[1, 2, 4, 8],
    window_size=4,
    drop_path_rate=0.5,
)


def model(swin, with_cp):
    """The small detector, on a ResNet or a Swin transformer, the same at every call."""
    if not swin:
        detector = build(pixel_decoder=dict(with_cp=with_cp), decoder=dict(with_cp=with_cp))
        for block in (
            block for name, block in detector.backbone.named_modules() if hasattr(block, 'with_cp')
        ):
            block.with_cp = with_cp
        return detector
    build()
    settings = tiny_config(
        pixel_decoder=dict(in_channels=[12, 24, 48, 96], with_cp=with_cp),
        decoder=dict(with_cp=with_cp),
    )
    settings.backbone = dict(BACKBONE, with_cp=with_cp)
    torch.manual_seed(0)
    return MODELS.build(settings)


def step(swin, with_cp, images, targets):
    """Losses and gradients of one step, and the bytes that were kept for the backward pass."""
    kept = {}

    def keep(value):
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    detector = model(swin, with_cp).train()
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        losses = detector.panoptic_head.loss(detector.extract_feat(images), targets)
    sum(losses.values()).backward()
    return losses, {name: p.grad for name, p in detector.named_parameters()}, sum(kept.values())


@pytest.mark.parametrize('swin', [False, True])
def test_losses_and_gradients_are_equal_and_memory_is_saved(swin, images, generator):
    targets = [random_targets(n, generator) for n in (2, 3)]
    losses, gradients, kept = step(swin, False, images, targets)
    again, regained, less = step(swin, True, images, targets)
    assert losses.keys() == again.keys()
    for name, value in losses.items():
        assert value.equal(again[name]), name
    for name, value in gradients.items():
        assert (value is None) == (regained[name] is None), name
        if value is not None:  # several gradients of one tensor may be added up in another order
            torch.testing.assert_close(
                regained[name], value, rtol=0, atol=float(1e-5 * value.abs().max())
            )
    assert less < 0.7 * kept
