import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from mask_dino.ops.deformable_attention import sample_maps

SIZES = [(6, 8), (3, 4), (1, 2)]
SHAPES = torch.tensor(SIZES)
LENGTH, QUERIES, HEADS, CHANNELS = 62, 9, 3, 5


def inputs(generator, reach=1.0):
    """Values, locations that leave the maps by up to ``reach``, and weights."""
    shape = (2, QUERIES, HEADS, len(SIZES), 4)
    locations = torch.rand(*shape, 2, generator=generator) * (1 + 2 * reach) - reach
    values = torch.randn(2, LENGTH, HEADS, CHANNELS, generator=generator)
    return [x.requires_grad_() for x in (values, locations, torch.rand(shape, generator=generator))]


@pytest.mark.parametrize('reach', [0.0, 0.3, 4.0])
def test_sums_and_gradients_are_those_of_mmcv(reach, generator):
    given = inputs(generator, reach)
    ours = sample_maps(given[0], SHAPES, *given[1:])
    theirs = multi_scale_deformable_attn_pytorch(given[0], SIZES, *given[1:])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    gradient = torch.randn(ours.shape, generator=generator)
    for mine, other in zip(*(torch.autograd.grad(x, given, gradient) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        assert sample_maps(given[0], SHAPES, *given[1:]).equal(ours)


def test_outside_of_a_level_there_is_nothing():
    values = torch.ones(1, LENGTH, 1, 3)
    weights = torch.full((1, 1, 1, 3, 2), 1 / 6)
    for place, expected in ((0.5, 1.0), (-0.5, 0.0), (1.5, 0.0), (1e9, 0.0), (-1e9, 0.0)):
        locations = torch.full((1, 1, 1, 3, 2, 2), place)
        output = sample_maps(values, SHAPES, locations, weights)
        torch.testing.assert_close(output, torch.full((1, 1, 3), expected))


@pytest.mark.parametrize('place', [float('nan'), float('inf'), -float('inf')])
def test_places_that_are_no_numbers_read_nothing_from_elsewhere(place, generator):
    values, locations, weights = inputs(generator)
    locations = torch.full_like(locations, place).requires_grad_()
    output = sample_maps(values, SHAPES, locations, weights)
    assert not output.any()
    output.sum().backward()
    assert not values.grad.any()


def test_images_and_heads_do_not_see_each_other(generator):
    values, locations, weights = inputs(generator)
    sample_maps(values, SHAPES, locations, weights).unflatten(2, (HEADS, CHANNELS))[1, :, 2].sum().backward()
    seen = values.grad.abs().sum((1, 3)) > 0  # (B, heads)
    assert seen.nonzero().tolist() == [[1, 2]]
