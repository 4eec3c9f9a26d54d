"""The layers and their parts compute what those of mmdet and mmcv do, and keep less."""

import pytest
import torch
from helpers.gradients import assert_same_gradients, kept
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmdet.models.layers import (
    DeformableDetrTransformerDecoderLayer,
    DeformableDetrTransformerEncoderLayer,
)

from mask_dino.ops import transformer_layers
from mask_dino.ops.transformer_layers import (
    DecoderLayer,
    EncoderLayer,
    LayerSizes,
    SelfAttention,
)
from mask_dino.structures import Memory


@pytest.mark.parametrize('blocked', [False, True])
def test_self_attention_is_that_of_mmcv(blocked):
    torch.manual_seed(0)
    theirs, ours = MultiheadAttention(8, 2, batch_first=True), SelfAttention(8, 2)
    ours.load_state_dict(theirs.state_dict())
    x, position = (torch.randn(3, 10, 8, requires_grad=True) for _ in range(2))
    mask = (torch.rand(10, 10) < 0.5).fill_diagonal_(False) if blocked else None
    values = ours(x, position, mask)
    expected = theirs(x, query_pos=position, attn_mask=mask)
    torch.testing.assert_close(values, expected)
    assert_same_gradients(
        values, expected, [x, position], [list(module.parameters()) for module in (ours, theirs)]
    )


def test_attention_weights_are_not_kept():
    x = torch.randn(1, 200, 8, requires_grad=True)
    assert kept(lambda: MultiheadAttention(8, 2, batch_first=True)(x)) >= 200 * 200
    assert kept(lambda: SelfAttention(8, 2)(x, torch.zeros_like(x), None)) < 200 * 200


def mmdet_layer(kind):
    """The layer of mmdet that ours stands in for."""
    attention = dict(embed_dims=32, num_heads=4, batch_first=True)
    deformable = attention | dict(num_levels=2, num_points=3, dropout=0.0)
    ffn = dict(embed_dims=32, feedforward_channels=16)
    if kind is EncoderLayer:
        return DeformableDetrTransformerEncoderLayer(deformable, ffn)
    return DeformableDetrTransformerDecoderLayer(attention, deformable, ffn)


@pytest.mark.parametrize('kind', [EncoderLayer, DecoderLayer])
def test_layers_compute_what_those_of_mmdet_do(kind):
    torch.manual_seed(0)
    sizes = ((4, 5), (2, 3))
    shapes = torch.tensor(sizes)
    ours, theirs = kind(LayerSizes(32, 2, 16, 4, 3)), mmdet_layer(kind)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours.load_state_dict(theirs.state_dict())
    tokens, position = torch.randn(2, 26, 32), torch.randn(2, 26, 32)
    memory = Memory(tokens, sizes, shapes, torch.tensor([0, 20]))
    levels = dict(spatial_shapes=shapes, level_start_index=memory.level_start_index)
    if kind is EncoderLayer:
        points = torch.rand(2, 26, 2, 2)
        output = ours(memory, position, points)
        expected = theirs(tokens, position, None, reference_points=points, **levels)
    else:
        content, boxes = torch.randn(2, 7, 32), torch.rand(2, 7, 2, 4)
        mask = (torch.rand(7, 7) < 0.5).fill_diagonal_(False)
        output = ours(content, position[:, :7], boxes, memory, mask)
        expected = theirs(
            content,
            value=tokens,
            query_pos=position[:, :7],
            self_attn_mask=mask,
            reference_points=boxes,
            **levels,
        )
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize('limit', [1, 4, 25])
def test_many_tokens_are_computed_in_parts_without_gradients(limit, mode, monkeypatch):
    monkeypatch.setattr(transformer_layers, 'TOKENS_AT_ONCE', limit)
    counts = []
    complete = EncoderLayer.complete
    monkeypatch.setattr(
        EncoderLayer,
        'complete',
        lambda self, tokens: counts.append(tokens.shape[1]) or complete(self, tokens),
    )
    torch.manual_seed(0)
    layer = EncoderLayer(LayerSizes(32, 2, 16, 4, 3))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    sizes = ((4, 5), (2, 3))
    memory = Memory(torch.randn(2, 26, 32), sizes, torch.tensor(sizes), torch.tensor([0, 20]))
    position, points = torch.randn(1, 26, 32), torch.rand(2, 26, 2, 2)
    expected = layer(memory, position, points)
    assert counts == [26]
    with mode():
        output = layer(memory, position, points)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
    assert sum(counts[1:]) == 26
    assert max(counts[1:]) <= limit
