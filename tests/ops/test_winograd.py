"""Convolutions by Winograd's algorithm are those of torch, and are used where they suit."""

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from mask_dino.ops import winograd
from mask_dino.ops.winograd import WinogradConv2d

pytestmark = pytest.mark.skipif(
    not winograd.has_nnpack(), reason='torch has no NNPACK for this processor, or is older than 2.4'
)


@pytest.fixture
def calls(monkeypatch):
    """The shapes of the maps that NNPACK convolves."""
    shapes = []
    convolve = winograd.convolve
    monkeypatch.setattr(
        winograd,
        'convolve',
        lambda maps, weight: shapes.append(maps.shape) or convolve(maps, weight),
    )
    return shapes


@pytest.fixture
def pair(monkeypatch):
    """Ours, which takes maps of any size, and torch's, with the same weights."""
    monkeypatch.setattr(winograd, 'MIN_PIXELS', 1)
    torch.manual_seed(0)
    ours, theirs = (kind(8, 6, 3, padding=1, bias=False) for kind in (WinogradConv2d, nn.Conv2d))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize('max_pixels', [1, 40, 10**6])
@pytest.mark.parametrize('size', [(1, 1), (1, 30), (30, 1), (5, 8), (29, 17)])
@pytest.mark.parametrize('batch', [1, 3])
def test_values_and_gradients_are_those_of_torch(batch, size, max_pixels, pair, calls, monkeypatch):
    monkeypatch.setattr(winograd, 'MAX_CONVOLVED_PIXELS', max_pixels)
    maps = torch.randn(batch, 8, *size, requires_grad=True)
    upstream = torch.randn(batch, 6, *size)
    results = []
    for conv in pair:
        values = conv(maps)
        results.append((values, *torch.autograd.grad(values, (maps, conv.weight), upstream)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert calls == [maps.shape, upstream.shape]
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(pair[0](maps), results[1][0], rtol=1e-4, atol=1e-4)


def test_the_memory_layout_of_the_maps_changes_nothing(pair):
    ours, theirs = pair
    maps = torch.randn(2, 8, 9, 7).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours(maps), theirs(maps), rtol=1e-4, atol=1e-4)


def test_gradients_that_nobody_needs_are_not_computed(pair, calls):
    ours, theirs = pair
    maps = torch.randn(1, 8, 9, 7)
    ours(maps).sum().backward()
    theirs(maps).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)
    assert len(calls) == 1


OTHER_WINDOWS = [
    dict(kernel_size=1),
    dict(kernel_size=3),
    dict(kernel_size=3, padding=1, stride=2),
    dict(kernel_size=3, padding=1, dilation=2),
    dict(kernel_size=3, padding=1, groups=2),
    dict(kernel_size=3, padding=1, bias=True),
    dict(kernel_size=3, padding=1, padding_mode='reflect'),
    dict(kernel_size=3, padding='same'),
]


@torch.no_grad()
@pytest.mark.parametrize('options', OTHER_WINDOWS)
def test_other_convolutions_are_left_to_torch(options, calls):
    options = dict(bias=False) | options
    ours, theirs = WinogradConv2d(8, 6, **options), nn.Conv2d(8, 6, **options)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(1, 8, 80, 80)
    torch.testing.assert_close(ours(maps), theirs(maps), rtol=0, atol=0)
    assert not calls


@torch.no_grad()
def test_small_maps_other_precisions_and_traces_are_left_to_torch(pair, calls, monkeypatch):
    ours, theirs = pair
    maps = torch.randn(1, 8, 20, 20)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(ours(maps), theirs(maps), rtol=0, atol=0)
    for others in (torch.randn(8, 20, 20), torch.randn(0, 8, 20, 20)):
        torch.testing.assert_close(ours(others), theirs(others), rtol=0, atol=0)
    traced = torch.jit.trace(ours, maps, check_trace=False)
    assert '_convolution' in str(traced.graph) and 'nnpack' not in str(traced.graph)
    ours.double(), theirs.double()
    torch.testing.assert_close(ours(maps.double()), theirs(maps.double()), rtol=0, atol=0)
    ours.float()
    monkeypatch.setattr(winograd, 'MIN_PIXELS', 401)
    ours(maps)
    assert not calls
    monkeypatch.setattr(winograd, 'MIN_PIXELS', 400)
    ours(maps)
    assert len(calls) == 1


@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg'])
def test_modules_of_mmcv_can_have_it(scope):
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(scope):
        module = ConvModule(8, 8, 3, padding=1, conv_cfg=dict(type='WinogradConv2d'))
    assert type(module.conv) is WinogradConv2d


def test_large_maps_of_the_mask_branch_are_convolved_by_it(calls):
    from mask_dino.models.pixel_decoder import MaskDINOPixelDecoder

    torch.manual_seed(0)
    decoder = MaskDINOPixelDecoder([4, 8], num_levels=2, num_layers=1, embed_dims=32)
    maps = [torch.randn(1, 4, 64, 64), torch.randn(1, 8, 32, 32)]
    with torch.no_grad():
        decoder(maps)
        decoder([x[:, :, :16, :16] for x in maps])
    assert calls == [(1, 32, 64, 64)]
