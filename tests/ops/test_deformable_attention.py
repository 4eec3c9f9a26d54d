import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention

from mask_dino.ops import deformable_attention
from mask_dino.ops.deformable_attention import DeformableAttention, has_kernel
from mask_dino.structures import Memory

SIZES = ((6, 8), (3, 4), (2, 2))
SHAPES = torch.tensor(SIZES)
STARTS = torch.cat((SHAPES.new_zeros(1), SHAPES.prod(1).cumsum(0)[:-1]))
LENGTH, QUERIES, CHANNELS = 64, 9, 32
OPTIONS = dict(embed_dims=CHANNELS, num_heads=4, num_levels=3, num_points=2)


def mmcv_attention() -> MultiScaleDeformableAttention:
    return MultiScaleDeformableAttention(**OPTIONS, dropout=0.0, batch_first=True)


def pair():
    """Ours and mmcv's, with the same weights, none of them zero."""
    ours, theirs = DeformableAttention(**OPTIONS), mmcv_attention()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def inputs(coordinates):
    torch.manual_seed(0)
    query, value, query_pos = (
        torch.randn(2, n, CHANNELS, requires_grad=True) for n in (QUERIES, LENGTH, QUERIES)
    )
    points = torch.rand(2, QUERIES, len(SIZES), coordinates, requires_grad=True)
    return dict(query=query, value=value, query_pos=query_pos, reference_points=points)


def run_ours(module, query, value, query_pos, reference_points):
    return module(query, query_pos, reference_points, Memory(value, SIZES, SHAPES, STARTS))


def run_mmcv(module, **tensors):
    return module(**tensors, spatial_shapes=SHAPES, level_start_index=STARTS)


@pytest.mark.parametrize('exporting', [False, True])
@pytest.mark.parametrize('coordinates', [2, 4])
def test_outputs_and_gradients_are_those_of_mmcv(coordinates, exporting, monkeypatch):
    monkeypatch.setattr(deformable_attention, 'is_exporting', lambda: exporting)
    results = []
    for module, run in zip(pair(), (run_ours, run_mmcv), strict=True):
        tensors = inputs(coordinates)
        output = run(module, **tensors)
        output.square().sum().backward()
        gradients = {name: x.grad for name, x in [*module.named_parameters(), *tensors.items()]}
        results.append((output, gradients))
    (ours, our_gradients), (theirs, their_gradients) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], rtol=1e-3, atol=1e-3, msg=name)


@torch.no_grad()
@pytest.mark.parametrize('coordinates', [2, 4])
@pytest.mark.parametrize('size', [1, 4, QUERIES])
def test_values_that_are_projected_once_serve_queries_in_parts(size, coordinates):
    module, _ = pair()
    tensors = inputs(coordinates)
    expected = run_ours(module, **tensors)
    memory = Memory(tensors['value'], SIZES, SHAPES, STARTS)
    values = module.project_bordered(memory)
    names = ('query', 'query_pos', 'reference_points')
    parts = zip(*(tensors[name].split(size, 1) for name in names), strict=True)
    output = torch.cat([module.attend_to(values, *part, memory) for part in parts], 1)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


def test_initial_values_are_those_of_mmcv():
    ours, theirs = DeformableAttention(**OPTIONS).state_dict(), mmcv_attention().state_dict()
    assert list(ours) == list(theirs)
    drawn = {'value_proj.weight', 'output_proj.weight'}
    for name in ours.keys() - drawn:
        torch.testing.assert_close(ours[name], theirs[name])
    for name in drawn:
        torch.testing.assert_close(ours[name].std(), theirs[name].std(), rtol=0.1, atol=0)


def test_arguments_that_would_change_the_result_are_not_ignored():
    ours, _ = pair()
    tensors = inputs(4)
    memory = Memory(tensors['value'], SIZES, SHAPES, STARTS)
    with pytest.raises(TypeError, match='key_padding_mask'):
        ours(
            tensors['query'],
            tensors['query_pos'],
            tensors['reference_points'],
            memory,
            key_padding_mask=None,
        )


def test_channels_that_no_head_shares_are_refused():
    with pytest.raises(ValueError, match='embed_dims=32 must be a multiple of num_heads=5'):
        DeformableAttention(**OPTIONS | dict(num_heads=5))


def test_the_sampling_stays_in_float32():
    ours, _ = pair()
    seen = []

    def sample(values, memory, locations, weights):
        seen.extend(x.dtype for x in (values, locations, weights))
        return values[:, :QUERIES].flatten(2)

    ours.sample = sample
    with torch.autocast('cpu', torch.bfloat16):
        run_ours(ours, **inputs(4))
    assert seen == [torch.float32] * 3


def test_a_device_without_a_kernel_is_served_and_told_once(monkeypatch):
    """The meta device has no kernel, as a GPU has none under an mmcv that was built for CPUs."""
    messages = []
    monkeypatch.setattr(
        deformable_attention, 'print_log', lambda message, **_: messages.append(message)
    )
    has_kernel.cache_clear()
    ours = DeformableAttention(**OPTIONS).to('meta')
    tensors = {name: x.detach().to('meta') for name, x in inputs(4).items()}
    memory = Memory(tensors['value'], SIZES, SHAPES.to('meta'), STARTS.to('meta'))
    for _ in range(2):
        output = ours(tensors['query'], tensors['query_pos'], tensors['reference_points'], memory)
        assert output.shape == (2, QUERIES, CHANNELS) and output.is_meta
    has_kernel.cache_clear()
    [message] = messages
    assert (
        'no compiled deformable attention for meta' in message
        and 'build mmcv from source' in message
    )


@pytest.mark.parametrize('value', [1.0, 0.0])
def test_a_kernel_that_computes_nothing_is_no_kernel(value, monkeypatch):
    """A kernel that was built for another generation of GPUs prints an error and leaves zeros."""

    class Kernel:
        @staticmethod
        def apply(values, *_):
            return values.flatten() * value

    monkeypatch.setattr(deformable_attention, 'MultiScaleDeformableAttnFunction', Kernel)
    has_kernel.cache_clear()
    assert has_kernel(torch.device('cpu')) is bool(value)
    has_kernel.cache_clear()
