from types import SimpleNamespace

import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

import onnxruntime
import torch
from mmdet.models.backbones.swin import ShiftWindowMSA
from mmseg.models.backbones.swin import ShiftWindowMSA as AttentionOfSegmentors
from torch import nn
from torch.export import Dim

from mask_dino.export.onnx_file import translate_program
from mask_dino.export.swin import windows_of_any_size
from mask_dino.ops.tracing import single_operations

CHANNELS = 6
# Windows of 7 cover none of these without padding but the last; the second is smaller than a window.
SIZES = [(2, 8, 12), (1, 4, 4), (3, 20, 16), (2, 28, 56)]
OPEN = {0: Dim('batch', max=16), 2: 4 * Dim('height', max=64), 3: 4 * Dim('width', max=64)}


def attention(kind, shift):
    """Return an attention with windows of 7, none of whose weights is zero as at the start of a training."""
    torch.manual_seed(0)
    module = kind(CHANNELS, num_heads=2, window_size=7, shift_size=shift)
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.3)
    return module.eval()


def maps(batch, height, width):
    generator = torch.Generator().manual_seed(height * width)
    return torch.randn(batch, CHANNELS, height, width, generator=generator)


class Blocks(nn.Module):
    """An attention of each framework."""

    def __init__(self, *shifts):
        super().__init__()
        kinds = (ShiftWindowMSA, AttentionOfSegmentors)
        self.blocks = nn.ModuleList(map(attention, kinds, shifts))

    def forward(self, values):
        size = values.shape[2:]
        tokens = values.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = tokens + block(tokens, size)
        return tokens


@torch.no_grad()
def trace(network):
    with windows_of_any_size(network):
        return torch.export.export(
            network, (maps(*SIZES[0]),), dynamic_shapes=(OPEN,), strict=False
        )


@pytest.mark.parametrize('kind', [ShiftWindowMSA, AttentionOfSegmentors])
@pytest.mark.parametrize('shift', [0, 3])
@torch.no_grad()
def test_attention_in_a_trace_is_the_same_to_the_bit(kind, shift):
    module = attention(kind, shift)
    for batch, height, width in (*SIZES, (1, 3, 5), (2, 7, 14), (3, 9, 20)):
        query = maps(batch, height, width).flatten(2).transpose(1, 2)
        expected = module(query, (height, width))
        with windows_of_any_size(nn.Sequential(module)):
            assert torch.equal(module(query, (height, width)), expected)
        assert 'forward' not in vars(module)


@torch.no_grad()
def test_programs_of_torch_take_windows_of_any_batch_and_size():
    network = Blocks(3)
    program = trace(network).module()
    for size in SIZES:
        values = maps(*size)
        torch.testing.assert_close(program(values), network(values))


@torch.no_grad()
def test_files_of_onnx_take_windows_of_any_batch_and_size():
    network = Blocks(0, 3)
    with single_operations():
        program = trace(network)
    info = SimpleNamespace(
        input=SimpleNamespace(name='maps'), outputs=[SimpleNamespace(name='tokens')]
    )
    exported = translate_program(program, maps(*SIZES[0]), info, opset=18)
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString())
    for size in SIZES:
        values = maps(*size)
        (result,) = session.run(None, {'maps': values.numpy()})
        torch.testing.assert_close(torch.from_numpy(result), network(values), atol=1e-4, rtol=1e-4)
