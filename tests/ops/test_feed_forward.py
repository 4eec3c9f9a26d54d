"""The feed-forward networks compute what those of mmcv do, and keep less."""

import pytest
import torch
from helpers.gradients import assert_same_gradients, kept
from mmcv.cnn.bricks.transformer import FFN
from torch import nn

from mask_dino.ops import feed_forward, recomputing
from mask_dino.ops.feed_forward import FeedForward, RecomputedFeedForward


@pytest.mark.parametrize('max_kept', [0, 2**19])
@pytest.mark.parametrize('max_tokens', [1, 4, 100])
@pytest.mark.parametrize('kind', [FeedForward, RecomputedFeedForward])
def test_feed_forward_networks_are_those_of_mmcv(kind, max_tokens, max_kept, monkeypatch):
    monkeypatch.setattr(feed_forward, 'MAX_TOKENS', max_tokens)
    monkeypatch.setattr(recomputing, 'MAX_KEPT_VALUES', max_kept)
    torch.manual_seed(0)
    theirs, ours = FFN(8, 64), kind(8, 64)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 10, 8, requires_grad=True)
    values, expected = ours(x), theirs(x)
    torch.testing.assert_close(values, expected)
    assert_same_gradients(
        values, expected, [x], [list(module.parameters()) for module in (ours, theirs)]
    )
    with torch.no_grad():
        torch.testing.assert_close(ours(x), expected)


def test_large_hidden_layers_of_the_encoder_are_not_kept(monkeypatch):
    x = torch.randn(2, 100, 8, requires_grad=True)
    hidden = 2 * 100 * 64
    for limit, largest in ((hidden, hidden), (hidden - 1, x.numel())):
        monkeypatch.setattr(recomputing, 'MAX_KEPT_VALUES', limit)
        assert kept(FeedForward(8, 64), x) == hidden
        assert kept(RecomputedFeedForward(8, 64), x) == largest


@pytest.fixture
def products_of_onednn(monkeypatch):
    """The numbers of tokens that oneDNN computes, four at a time."""
    if not feed_forward.HAS_ONEDNN:
        pytest.skip('torch was built without oneDNN, or is older than 2.4')
    monkeypatch.setattr(feed_forward, 'MAX_TOKENS', 4)
    lengths = []
    suits = RecomputedFeedForward.suits_onednn

    def record(self, tokens):
        if suits(self, tokens):
            lengths.append(tokens.shape[1])
        return suits(self, tokens)

    monkeypatch.setattr(RecomputedFeedForward, 'suits_onednn', record)
    return lengths


@pytest.mark.parametrize('mode', [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_products_of_onednn_are_those_of_the_layers(mode, products_of_onednn):
    torch.manual_seed(0)
    module = RecomputedFeedForward(8, 64)
    tokens = torch.randn(2, 10, 8)
    expected = FeedForward.forward(module, tokens)
    with mode():
        torch.testing.assert_close(module(tokens), expected)
    assert products_of_onednn == [10]


@pytest.mark.parametrize('frozen', ['tokens', 'layers.0.0.weight', 'layers.1.bias'])
def test_gradients_of_onednn_leave_out_what_is_frozen(frozen, products_of_onednn):
    torch.manual_seed(0)
    module = RecomputedFeedForward(8, 64)
    tokens = torch.randn(2, 10, 8)
    leaves = dict(module.named_parameters()) | dict(tokens=tokens)
    for name, leaf in leaves.items():
        leaf.requires_grad_(name != frozen)
    gradients = []
    for forward in (module.forward, lambda x: FeedForward.forward(module, x)):
        forward(tokens).square().sum().backward()
        gradients.append({name: leaf.grad for name, leaf in leaves.items()})
        for leaf in leaves.values():
            leaf.grad = None
    ours, expected = gradients
    assert ours.pop(frozen) is None and expected.pop(frozen) is None
    for name, gradient in expected.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-4, msg=name)
    assert products_of_onednn == [10]


def test_onednn_keeps_nothing_but_tokens_and_weights(products_of_onednn):
    x = torch.randn(2, 100, 8, requires_grad=True)
    assert kept(RecomputedFeedForward(8, 64), x) == x.numel()
    assert products_of_onednn == [100]


@torch.no_grad()
def test_layers_that_replace_the_linear_ones_are_called(monkeypatch):
    monkeypatch.setattr(feed_forward, 'MAX_TOKENS', 4)

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    module = RecomputedFeedForward(8, 64)
    tokens = torch.randn(2, 10, 8)
    once = module(tokens) - tokens
    doubled = Doubled(64, 8)
    doubled.load_state_dict(module.layers[1].state_dict())
    module.layers[1] = doubled
    torch.testing.assert_close(module(tokens) - tokens, 2 * once)


@torch.no_grad()
def test_mixed_precision_is_that_of_the_layers(monkeypatch):
    module = RecomputedFeedForward(8, 64)
    tokens = torch.randn(2, 10, 8)
    with torch.autocast('cpu', torch.bfloat16):
        expected = module(tokens)
        monkeypatch.setattr(feed_forward, 'MAX_TOKENS', 4)
        torch.testing.assert_close(module(tokens), expected)
