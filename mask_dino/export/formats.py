"""The formats of exported files: ONNX, OpenVINO and torch.export."""

from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ..ops.tracing import single_operations
from ..runtime import ModelInfo, Network, OnnxNetwork
from ..runtime.metadata import KEY, InputRule, ModelFileError, read_info
from ..runtime.network import Outputs, check_threads
from .graph import ExportedNetwork
from .swin import windows_of_any_size

MIN_OPSET, MAX_OPSET = 18, 23
"""Versions of ONNX's operators that torch writes; the sampling of the attention needs 16."""

MAX_SIDE, MAX_BATCH = 2**16, 2**10
"""Pixels of a side and images of a batch, at most; only programs of torch.export hold to them."""


class Target(NamedTuple):
    """The file to write."""

    path: Path
    format: str  # onnx, openvino or torch
    opset: int


def trace_network(network: ExportedNetwork, example: Tensor, file_format: str) -> ExportedProgram:
    """Record the network for an example (B, 3, H, W), with batch, height and width left open unless it is static.

    Operations of this package are for files of ONNX, from which OpenVINO's are made; programs of torch run without it.
    """
    axes = None if network.rule.static else (open_axes(network.rule),)
    operations = nullcontext() if file_format == 'torch' else single_operations()
    # Entries of the cache of shapes are computed from symbols, which takes longer than what they save.
    uncached = torch._dynamo.config.patch(fake_tensor_cache_enabled=False)
    with torch.no_grad(), operations, uncached, windows_of_any_size(network):
        return torch.export.export(network, (example,), dynamic_shapes=axes, strict=False)


def open_axes(rule: InputRule) -> dict[int, Any]:
    """Return which axes of an input have any size: images, height and width.

    Where the reader pads images, height and width are multiples of the divisor. The sizes of all maps are then
    products, not quotients, with which a trace takes longer.
    """
    if rule.embedded:
        return dict.fromkeys((0, 1, 2), Dim.DYNAMIC)
    divisor = rule.padding.divisor
    height, width = (Dim(name, max=MAX_SIDE // divisor) for name in ('height', 'width'))
    return {0: Dim('batch', max=MAX_BATCH), 2: divisor * height, 3: divisor * width}


def write_file(
    program: ExportedProgram, example: Tensor, info: ModelInfo, target: Target
) -> list[Path]:
    """Write a program with what a reader needs to know, and return the files.

    Raises:
        ExportError: If the weights are too large for the format.
        OSError: If a file cannot be written.
    """
    if target.format == 'torch':
        return write_torch(program, info, target.path)
    from .onnx_file import write_onnx  # imports onnxscript

    if target.format == 'openvino':
        onnx_file = target.path.with_suffix('.onnx')
        write_onnx(program, example, info, onnx_file, target.opset)
        return write_openvino(onnx_file, info, target.path)
    write_onnx(program, example, info, target.path, target.opset)
    return [target.path]


def write_torch(program: ExportedProgram, info: ModelInfo, path: Path) -> list[Path]:
    """Write a program of torch.export. Where torch itself cannot write a file to the end, it aborts the process."""
    content = BytesIO()
    torch.export.save(program, content, extra_files={KEY: info.to_json()})
    path.write_bytes(content.getbuffer())
    return [path]


def write_openvino(onnx_file: Path, info: ModelInfo, path: Path) -> list[Path]:
    """Convert an ONNX file to OpenVINO's two, ``.xml`` and ``.bin``, with float32 weights."""
    import openvino

    model = openvino.convert_model(onnx_file)
    model.set_rt_info(info.to_json(), KEY)
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f'OpenVINO cannot write it ({error})') from error
    onnx_file.unlink()
    return [path, path.with_suffix('.bin')]


class OpenVINONetwork:
    """A network in OpenVINO's files, for a :class:`~mask_dino.runtime.Segmenter`.

    Args:
        path: The ``.xml`` file that ``tools/deployment/export.py`` wrote; the ``.bin`` file is in the same folder.
        threads: Threads of OpenVINO; by default, its own choice.
        precision: Of the computation: ``f32``, or ``bf16``, which is faster on some processors and less exact.

    Raises:
        ModelFileError: If a file is missing, damaged or another program's.
    """

    def __init__(
        self, path: str | Path, threads: int | None = None, precision: str = 'f32'
    ) -> None:
        import openvino

        check_threads(threads)
        options: dict = {'INFERENCE_PRECISION_HINT': precision}
        if threads:
            options['INFERENCE_NUM_THREADS'] = threads
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ModelFileError(
                f'{path} cannot be read by OpenVINO: it is missing, damaged or cut short ({error})'
            ) from error
        text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None
        self.info = read_info(text, path)
        self.compiled = core.compile_model(model, 'CPU', options)

    def run(self, images: np.ndarray) -> Outputs:
        """Return the outputs, by name, for a batch (B, 3, H, W), or (B, H, W, 3) if ``info.input`` is embedded."""
        values = self.compiled(images)
        return {output.name: values[output.name] for output in self.info.outputs}


class TorchNetwork:
    """A program of torch.export in a file, for a :class:`~mask_dino.runtime.Segmenter`; it needs torch only.

    The file is a program, which can do anything: open only files that you or someone you trust has exported.

    Raises:
        ModelFileError: If the file is missing, damaged or another program's.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        check_threads(threads)
        texts = {KEY: ''}
        try:
            self.program = open_program(torch.export.load(path, extra_files=texts))
        except Exception as error:  # a damaged archive can raise anything
            raise ModelFileError(
                f'{path} cannot be read by torch: it is missing, damaged or cut short ({error})'
            ) from error
        self.info = read_info(texts[KEY], path)
        if threads:
            torch.set_num_threads(threads)

    @torch.no_grad()
    def run(self, images: np.ndarray) -> Outputs:
        """Return the outputs, by name, for a batch (B, 3, H, W), or (B, H, W, 3) if ``info.input`` is embedded."""
        values = self.program(torch.as_tensor(images))
        names = [output.name for output in self.info.outputs]
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}


def open_program(program: ExportedProgram) -> torch.nn.Module:
    """Return a module that runs a program for any batch and size.

    Of the trace, torch keeps which branch its own operations took for the batch of the example, and refuses any other,
    although the operations themselves are recorded whole. The command compares a program at two batches and sizes.
    """
    try:
        return program.module(check_guards=False)
    except TypeError:  # older versions check nothing
        return program.module()


SUFFIXES = dict(onnx='.onnx', openvino='.xml', torch='.pt2')


def open_network(path: Path, file_format: str, threads: int | None = None) -> Network:
    """Open an exported file. The errors are the same as for the class of its format."""
    if file_format == 'openvino':
        return OpenVINONetwork(path, threads)
    return TorchNetwork(path, threads) if file_format == 'torch' else OnnxNetwork(path, threads)
