from types import SimpleNamespace

import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from mask_dino.export.formats import open_program
from mask_dino.export.onnx_file import (
    convert_types,
    mixes_types,
    replace_mutations,
    translate_program,
)
from mask_dino.export.translations import TRANSLATIONS
from mask_dino.ops.grid_sampling import sample_grid
from mask_dino.ops.tracing import sample_levels_once, select_highest_once


class Operations(nn.Module):
    """Samples two levels, whose sizes are those of two images, and selects the queries with the highest sums."""

    def forward(
        self, values: Tensor, images: tuple[Tensor, ...], locations: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        sizes = [length for image in images for length in image.shape]
        sums = sample_levels_once(values, sizes, locations, weights)
        selected = select_highest_once(sums.sum(-1), 5)
        return sums + 0, sums.gather(1, selected[..., None])


def arguments(batch, queries, *sizes):
    """Return the arguments of two heads of 8 channels and 4 points; some lie outside of the maps."""
    generator = torch.Generator().manual_seed(queries)
    tokens = sum(height * width for height, width in sizes)
    values = torch.randn(batch, tokens, 2, 8, generator=generator)
    images = tuple(torch.zeros(size) for size in sizes)
    locations = torch.rand(batch, queries, 2, 2, 4, 2, generator=generator) * 1.4 - 0.2
    weights = torch.rand(batch, queries, 2, 2, 4, generator=generator)
    return values, images, locations, weights


CASES = [arguments(2, 7, (6, 5), (3, 4)), arguments(1, 3, (9, 2), (1, 1))]


def expected(values, images, locations, weights):
    """Return the sums, and the first channel of the best of them."""
    sums = sample_grid(values, [tuple(image.shape) for image in images], locations, weights)
    count = min(5, sums.shape[1])
    best = sums.sum(-1).topk(count).indices
    return sums, sums.gather(1, best[..., None])


def test_operations_of_a_trace_are_the_same_in_onnx(tmp_path):
    both = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    shapes = (both, (both, both), both, both)
    with torch.no_grad():
        program = torch.export.export(Operations(), CASES[0], dynamic_shapes=shapes, strict=False)
    exported = torch.onnx.export(program, dynamo=True, custom_translation_table=TRANSLATIONS)
    exported.save(tmp_path / 'operations.onnx')
    session = onnxruntime.InferenceSession(tmp_path / 'operations.onnx')
    names = [entry.name for entry in session.get_inputs()]
    for case in CASES:
        values, images, locations, weights = case
        arrays = [tensor.numpy() for tensor in (values, *images, locations, weights)]
        results = session.run(None, dict(zip(names, arrays, strict=True)))
        for result, value in zip(results, expected(*case), strict=True):
            torch.testing.assert_close(torch.from_numpy(result), value, atol=1e-5, rtol=0)


class Mutating(nn.Module):
    """Changes a tensor after a view of it was made, and uses an operation without a translation of its own."""

    def forward(self, values: Tensor) -> Tensor:
        changed = values * 2
        view = changed.flatten()
        changed.relu_()
        return torch.special.xlog1py(view, view)


class Mixing(nn.Module):
    """Mixes whole numbers, floats, truth values and lengths."""

    def forward(self, values: Tensor) -> Tensor:
        whole = values.long()
        inside = values > 0
        count = inside.sum(1, dtype=torch.int32)
        return (whole + 0.5) / values.shape[1] * inside + count[:, None] / whole.abs().add(1)


class MixingUnknown(Mixing):
    """Also uses an operation without a translation of its own."""

    def forward(self, values: Tensor) -> Tensor:
        return torch.special.xlog1py(super().forward(values), values.exp())


class Plain(nn.Module):
    """Changes a tensor that nothing else reads."""

    def forward(self, values: Tensor) -> Tensor:
        return (values * 2).relu_()


def translated(network, program, values):
    """Return what the translation of a program computes, and what the network computes."""
    info = SimpleNamespace(input=SimpleNamespace(name='values'), outputs=[])
    exported = translate_program(program, values, info, opset=18)
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString())
    result = session.run(None, {'values': values.numpy()})[0]
    return torch.from_numpy(result), network(values)


class Attending(nn.Module):
    """Lets patches of 8 x 8 pixels attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(tokens).transpose(0, 1)
        return self.attention(tokens, tokens, tokens + 1, need_weights=False)[0]


@torch.no_grad()
def test_programs_of_torch_take_other_batches_than_their_example():
    network = Attending().eval()
    axes = {0: Dim('batch', max=8), 2: 32 * Dim('height', max=8), 3: 32 * Dim('width', max=8)}
    example = torch.randn(2, 3, 64, 96)
    with torch._dynamo.config.patch(fake_tensor_cache_enabled=False):  # as in an export
        program = torch.export.export(network, (example,), dynamic_shapes=(axes,), strict=False)
    module = open_program(program)
    for size in ((1, 64, 96), (3, 32, 32)):
        images = torch.randn(size[0], 3, *size[1:])
        torch.testing.assert_close(module(images), network(images))


def random_values():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(('network', 'simple'), [(Mutating(), False), (Plain(), True)])
def test_tensors_that_share_memory_are_not_taken_apart(network, simple):
    values = random_values()
    program = torch.export.export(network, (values,), strict=False)
    assert replace_mutations(program) is simple
    torch.testing.assert_close(*translated(network, program, values))


@pytest.mark.parametrize('network', [Mixing(), MixingUnknown()])
def test_types_of_numbers_are_converted_as_torch_does(network):
    values = random_values()
    axes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},)
    program = torch.export.export(network, (values,), dynamic_shapes=axes, strict=False)
    assert mixes_types(program)
    convert_types(program)
    assert not mixes_types(program)
    torch.testing.assert_close(*translated(network, program, values))
