"""The sampling for CPUs, the one for export and other devices, and mmcv's compute the same."""

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)

from mask_dino.ops import sparse_sampling
from mask_dino.ops.deformable_attention import IM2COL_STEP
from mask_dino.ops.grid_sampling import sample_grid
from mask_dino.ops.sparse_sampling import sample_sparse

SIZES = [(6, 8), (3, 4), (1, 2)]
LENGTH, QUERIES, HEADS, CHANNELS = 62, 9, 3, 5
FORMS = [sample_sparse, sample_grid]


def inputs(generator, reach=1.0, device='cpu'):
    """Values, locations that leave the maps by up to ``reach``, and weights."""
    shape = (2, QUERIES, HEADS, len(SIZES), 4)
    locations = torch.rand(*shape, 2, generator=generator) * (1 + 2 * reach) - reach
    values = torch.randn(2, LENGTH, HEADS, CHANNELS, generator=generator)
    weights = torch.rand(shape, generator=generator)
    return [x.to(device).requires_grad_() for x in (values, locations, weights)]


def assert_same(ours, theirs, tensors, generator):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    gradient = torch.randn(ours.shape, generator=generator).to(ours.device)
    gradients = [torch.autograd.grad(x, tensors, gradient) for x in (ours, theirs)]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('sample', FORMS)
@pytest.mark.parametrize('reach', [0.0, 0.3, 4.0])
def test_sums_and_gradients_are_those_of_mmcv(reach, sample, generator):
    values, *points = tensors = inputs(generator, reach)
    ours = sample(values, SIZES, *points)
    theirs = multi_scale_deformable_attn_pytorch(values, SIZES, *points)
    assert_same(ours, theirs, tensors, generator)
    with torch.no_grad():
        assert sample(values, SIZES, *points).equal(ours)


@pytest.mark.parametrize('limit', [1, 1000, 1500])  # one query, three, five
def test_a_few_queries_at_a_time_give_the_same_sums_and_gradients(limit, generator, monkeypatch):
    values, *points = tensors = inputs(generator)
    at_once = sample_sparse(values, SIZES, *points)
    gradient = torch.randn(at_once.shape, generator=generator)
    expected = torch.autograd.grad(at_once, tensors, gradient)
    monkeypatch.setattr(sparse_sampling, 'MAX_NEIGHBOURS', limit)
    in_parts = sample_sparse(values, SIZES, *points)
    assert in_parts.equal(at_once)
    for mine, other in zip(torch.autograd.grad(in_parts, tensors, gradient), expected, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize('reach', [0.3, 4.0])
def test_both_forms_give_the_same_sums_and_gradients(reach, generator):
    values, *points = tensors = inputs(generator, reach)
    results = [sample(values, SIZES, *points) for sample in FORMS]
    assert_same(*results, tensors, generator)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='mmcv has its kernel for GPUs only')
@pytest.mark.parametrize('reach', [0.3, 4.0])
def test_the_grid_form_gives_the_sums_and_gradients_of_the_kernel(reach, generator):
    values, *points = tensors = inputs(generator, reach, 'cuda')
    shapes = torch.tensor(SIZES, device='cuda')
    starts = shapes.prod(1).cumsum(0) - shapes.prod(1)
    kernel = MultiScaleDeformableAttnFunction.apply(values, shapes, starts, *points, IM2COL_STEP)
    assert_same(sample_grid(values, SIZES, *points), kernel, tensors, generator)


@pytest.mark.parametrize('sample', FORMS)
def test_outside_of_a_level_there_is_nothing(sample):
    values = torch.ones(1, LENGTH, 1, 3)
    weights = torch.full((1, 1, 1, 3, 2), 1 / 6)
    for place, expected in ((0.5, 1.0), (-0.5, 0.0), (1.5, 0.0), (1e9, 0.0), (-1e9, 0.0)):
        locations = torch.full((1, 1, 1, 3, 2, 2), place)
        output = sample(values, SIZES, locations, weights)
        torch.testing.assert_close(output, torch.full((1, 1, 3), expected))


@pytest.mark.parametrize('place', [float('nan'), float('inf'), -float('inf')])
def test_places_that_are_no_numbers_read_nothing_from_elsewhere(place, generator):
    values, locations, weights = inputs(generator)
    locations = torch.full_like(locations, place).requires_grad_()
    output = sample_sparse(values, SIZES, locations, weights)
    assert not output.any()
    output.sum().backward()
    assert not values.grad.any()


@pytest.mark.parametrize('sample', FORMS)
def test_images_and_heads_do_not_see_each_other(sample, generator):
    values, locations, weights = inputs(generator)
    sample(values, SIZES, locations, weights).unflatten(2, (HEADS, CHANNELS))[
        1, :, 2
    ].sum().backward()
    seen = values.grad.abs().sum((1, 3)) > 0  # (B, heads)
    assert seen.nonzero().tolist() == [[1, 2]]
