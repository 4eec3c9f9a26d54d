"""The parts of the layers compute what mmcv's and torch's do, and keep less."""

import pytest
import torch
from mmcv.cnn.bricks.transformer import FFN
from torch import nn

from mask_dino.ops import transformer_layers as layers
from mask_dino.ops.transformer_layers import FeedForward, SelfAttention


def kept(function, *inputs):
    """The elements of the largest tensor that a call keeps for the backward pass."""
    sizes = [0]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        function(*inputs)
    return max(sizes)


def assert_same_gradients(ours, theirs, inputs, parameters):
    upstream = torch.randn_like(ours)
    for mine, other in zip(parameters[0], parameters[1], strict=True):
        values = [
            torch.autograd.grad(y, (*inputs, p), upstream, retain_graph=True)
            for y, p in ((ours, mine), (theirs, other))
        ]
        for a, b in zip(*values, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('max_tokens', [1, 4, 100])
def test_feed_forward_networks_are_those_of_mmcv(max_tokens, monkeypatch):
    monkeypatch.setattr(layers, 'MAX_TOKENS', max_tokens)
    torch.manual_seed(0)
    theirs = FFN(8, 64)
    ours = FeedForward(embed_dims=8, feedforward_channels=64)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 10, 8, requires_grad=True)
    values, expected = ours(x), theirs(x)
    torch.testing.assert_close(values, expected)
    assert_same_gradients(values, expected, [x], [list(module.parameters()) for module in (ours, theirs)])
    with torch.no_grad():
        torch.testing.assert_close(ours(x), expected)
        torch.testing.assert_close(ours(x, x + 1), theirs(x, x + 1))


def test_hidden_layers_are_not_kept():
    x = torch.randn(2, 100, 8, requires_grad=True)
    assert kept(FFN(8, 64), x) == 2 * 100 * 64
    assert kept(FeedForward(8, 64), x) == 2 * 100 * 8


@pytest.mark.parametrize('blocked', [False, True])
def test_self_attention_is_that_of_torch(blocked):
    torch.manual_seed(0)
    theirs, ours = nn.MultiheadAttention(8, 2), SelfAttention(8, 2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(10, 3, 8, requires_grad=True)
    mask = (torch.rand(10, 10) < 0.5).fill_diagonal_(False) if blocked else None
    values, weights = ours(query=x, key=x, value=x, attn_mask=mask)
    assert weights is None
    expected = theirs(query=x, key=x, value=x, attn_mask=mask)[0]
    torch.testing.assert_close(values, expected)
    assert_same_gradients(values, expected, [x], [list(module.parameters()) for module in (ours, theirs)])


def test_attention_weights_are_not_kept():
    x = torch.randn(200, 1, 8, requires_grad=True)
    assert kept(lambda: nn.MultiheadAttention(8, 2)(x, x, x)) >= 200 * 200
    assert kept(lambda: SelfAttention(8, 2)(x, x, x)) < 200 * 200
