import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention

from mask_dino.ops.deformable_attention import DeformableAttention

SIZES = [(6, 8), (3, 4), (2, 2)]
SHAPES = torch.tensor(SIZES)
STARTS = torch.cat((SHAPES.new_zeros(1), SHAPES.prod(1).cumsum(0)[:-1]))
LENGTH, QUERIES, CHANNELS = 64, 9, 32
OPTIONS = dict(embed_dims=CHANNELS, num_heads=4, num_levels=3, num_points=2, dropout=0.0, batch_first=True)


def pair():
    """Ours and mmcv's, with the same weights, none of them zero."""
    ours, theirs = DeformableAttention(**OPTIONS), MultiScaleDeformableAttention(**OPTIONS)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def inputs(coordinates):
    torch.manual_seed(0)
    query, value, query_pos = (torch.randn(2, n, CHANNELS, requires_grad=True) for n in (QUERIES, LENGTH, QUERIES))
    points = torch.rand(2, QUERIES, len(SIZES), coordinates, requires_grad=True)
    return dict(query=query, value=value, query_pos=query_pos, reference_points=points)


@pytest.mark.parametrize('coordinates', [2, 4])
def test_outputs_and_gradients_are_those_of_mmcv(coordinates):
    results = []
    for module in pair():
        given = inputs(coordinates)
        output = module(**given, spatial_shapes=SHAPES, level_start_index=STARTS)
        output.square().sum().backward()
        gradients = {name: x.grad for name, x in [*module.named_parameters(), *given.items()]}
        results.append((output, gradients))
    (ours, our_gradients), (theirs, their_gradients) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], rtol=1e-3, atol=1e-3, msg=name)


def test_the_sampling_stays_in_float32():
    ours, _ = pair()
    seen = []
    ours.sample = lambda *args: (
        seen.append([x.dtype for x in args if x.is_floating_point()]) or args[0][:, :QUERIES].flatten(2)
    )
    with torch.autocast('cpu', torch.bfloat16):
        ours(**inputs(4), spatial_shapes=SHAPES, level_start_index=STARTS)
    assert seen == [[torch.float32] * 3]
