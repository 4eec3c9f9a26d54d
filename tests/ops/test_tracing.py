"""Parts that are single operations, and compiled layers: they compute the same, for images of any size."""

import pytest
import torch
from helpers.tiny import build, random_targets
from torch._dynamo.utils import counters

from mask_dino.messages import DataError
from mask_dino.ops import tracing
from mask_dino.ops.tracing import sample_sparse_once
from mask_dino.ops.transformer_layers import compile_layers

SIZES = [(64, 96), (96, 64), (128, 160)]


@pytest.fixture(autouse=True)
def without_programs():
    """Start without compiled programs, and leave none."""
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def step(detector, size, seed):
    """Return the losses and the gradients of a step on two images with different numbers of objects."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, *size, generator=generator)
    targets = [random_targets(count, generator, size) for count in (seed, 2)]
    detector.zero_grad()
    torch.manual_seed(seed)
    losses = detector.panoptic_head.loss(detector.extract_feat(images), targets)
    sum(losses.values()).backward()
    return losses, {name: p.grad for name, p in detector.named_parameters() if p.grad is not None}


def test_losses_and_gradients_are_the_same_for_all_sizes_with_one_program_per_kind_of_layer():
    levels = dict(
        pixel_decoder=dict(num_levels=3), queries=dict(anchor_sizes=[0.1, 0.2, 0.4])
    )  # fewer take less time to compile
    eager, compiled = build(**levels), build(**levels)
    names = list(compiled.state_dict())
    # Without graph breaks, and without the C++ compiler, which takes minutes.
    compile_layers(compiled, dict(backend='aot_eager', fullgraph=True))
    for number, size in enumerate(SIZES):
        ours = step(compiled, size, number)
        torch.testing.assert_close(ours, step(eager, size, number), rtol=1e-5, atol=1e-5)
    assert counters['stats']['unique_graphs'] == 2
    assert list(compiled.state_dict()) == names
    compiled.load_state_dict(eager.state_dict())


def test_the_operations_of_a_program_follow_the_rules_of_torch(generator):
    locations = torch.rand(2, 3, 2, 2, 4, 2, generator=generator)
    values = torch.randn(2, 10, 2, 5, generator=generator)
    weights = torch.rand(2, 3, 2, 2, 4, generator=generator)
    tensors = [x.requires_grad_() for x in (values, locations, weights)]
    values, locations, weights = tensors
    torch.library.opcheck(sample_sparse_once, (values, [2, 4, 1, 2], locations, weights))


@pytest.mark.parametrize(
    'options', [dict(backend='fortran'), dict(colour='red'), dict(mode='fast')]
)
def test_options_that_torch_does_not_know_are_named(options):
    with pytest.raises(DataError, match=f'compile=.*{next(iter(options))}.*set compile=True'):
        compile_layers(build(), options)


def test_a_model_without_layers_of_mask_dino_is_named():
    with pytest.raises(DataError, match='no Mask DINO; set compile=False'):
        compile_layers(torch.nn.Linear(1, 1), {})


def double(values: torch.Tensor) -> torch.Tensor:
    """Return twice the values."""
    return values * 2


def test_versions_of_torch_without_own_operations_compute_the_same(monkeypatch: pytest.MonkeyPatch):
    values = torch.arange(3.0)
    operation = tracing.define_operation('test_double', double, torch.empty_like)
    monkeypatch.setattr(tracing, 'CAN_DEFINE_OPERATIONS', False)
    function = tracing.define_operation('test_double', double, torch.empty_like)
    assert function is double
    torch.testing.assert_close(operation(values), function(values))
