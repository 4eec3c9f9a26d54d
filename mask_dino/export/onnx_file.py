"""From a program of torch.export to an ONNX file.

``torch.onnx.export`` traces a program once more, to decompose operations, and then tries every rewriting on every node.
With sizes that are symbols, this takes several times as long as the export itself. Neither is needed here: every
operation has a translation, and programs that run ONNX files rewrite the graph themselves.
"""

from pathlib import Path

import onnx_ir.passes.common as passes
import torch
from onnx_ir.passes import Sequential
from onnxscript import optimizer
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.export import ExportedProgram

from ..runtime import ModelInfo
from ..runtime.metadata import KEY
from .packages import ExportError
from .translations import TRANSLATIONS

MAX_BYTES = 2**31
"""Of an ONNX file: the limit of protobuf."""

aten = torch.ops.aten

READ_NO_VALUE = (aten.sym_size.int, aten._assert_tensor_metadata.default)


def write_onnx(
    program: ExportedProgram, example: Tensor, info: ModelInfo, path: Path, opset: int
) -> None:
    """Write an ONNX file.

    Raises:
        ExportError: If the weights are too large for the format.
        OSError: If the file cannot be written.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if size > MAX_BYTES:
        raise ExportError(
            f'the weights have {size} bytes, but an ONNX file has at most {MAX_BYTES}: use --format torch'
        )
    exported = translate(program, example, info, opset)
    optimizer.fold_constants(exported.model, onnx_shape_inference=True)
    tidy = Sequential(
        passes.IdentityEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedOpsetsPass(),
    )
    tidy(exported.model)
    exported.model.metadata_props[KEY] = info.to_json()
    exported.save(path, external_data=False)


def translate(
    program: ExportedProgram, example: Tensor, info: ModelInfo, opset: int
) -> torch.onnx.ONNXProgram:
    """Translate a program operation by operation; only where one has no translation, let torch.onnx decompose all."""
    if replace_mutations(program):
        decompose = program.run_decompositions
        program.run_decompositions = lambda table=None: program  # type: ignore[method-assign]
        try:
            return _export(program, example, info, opset)
        except torch.onnx.OnnxExporterError:
            program.run_decompositions = decompose  # type: ignore[method-assign]
    return _export(program, example, info, opset)


def _export(
    program: ExportedProgram, example: Tensor, info: ModelInfo, opset: int
) -> torch.onnx.ONNXProgram:
    exported = torch.onnx.export(
        program,
        (example,),
        input_names=[info.input.name],
        output_names=[output.name for output in info.outputs],
        opset_version=opset,
        dynamo=True,
        verbose=False,
        optimize=False,
        custom_translation_table=TRANSLATIONS,
    )
    assert exported is not None
    return exported


def replace_mutations(program: ExportedProgram) -> bool:
    """Replace operations that change a tensor in place, such as ``relu_``, by operations that return another tensor.

    Returns:
        Whether there are none left. One is left where its tensor may share memory with another value.
    """
    graph = program.graph_module.graph
    for node in graph.nodes:
        if not _is_mutation(node):
            continue
        (changed, *_) = node.all_input_nodes
        # Gradients do not matter here, so that detaching a tensor changes nothing.
        if node.target is not aten.detach_.default and not _is_only_use(changed):
            return False
        node.target = _without_mutation(node.target)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return True


def _is_mutation(node: fx.Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _is_only_use(node: fx.Node) -> bool:
    """Tell whether a value has memory of its own, and one operation that reads it."""
    if not isinstance(node.target, OpOverload):
        return False
    is_view = any(value.alias_info is not None for value in node.target._schema.returns)
    readers = [user for user in node.users if user.target not in READ_NO_VALUE]
    return not is_view and len(readers) == 1


def _without_mutation(target: OpOverload) -> OpOverload:
    """Return the operation that computes the same as one whose name ends in an underscore."""
    name = target._schema.name.removeprefix('aten::').removesuffix('_')
    overload: OpOverload = getattr(getattr(aten, name), target._overloadname)
    return overload
