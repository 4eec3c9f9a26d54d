"""From a program of torch.export to an ONNX file.

``torch.onnx.export`` traces a program once more, to decompose operations, and then tries every rewriting on every node.
With sizes that are symbols, this takes several times as long as the export itself. Neither is needed here: every
operation has a translation, and programs that run ONNX files rewrite the graph themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

MAX_ONNX_BYTES = 2**31
"""Of an ONNX file: the limit of protobuf."""

aten = torch.ops.aten

ASSERTIONS = (
    aten._assert_tensor_metadata.default,
    aten._assert_scalar.default,
    aten._assert_async.default,
    aten._assert_async.msg,
    aten.sym_constrain_range_for_size.default,
)
"""Operations that only check their input, for which ONNX has no operator."""

ARITHMETIC = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.sum.dim_IntList,
)
"""Operations that convert their inputs to the type of their result."""

SEVERAL_TYPES = (
    aten.masked_fill.Scalar,
    aten.masked_fill.Tensor,
    aten.gather.default,
    aten.index.Tensor,
    aten.argmax.default,
    aten.argmin.default,
    aten.where.self,
    aten.where.ScalarOther,
    aten.where.ScalarSelf,
    aten.scalar_tensor.default,
    aten.to.device,
    aten.to.dtype,
    aten.to.dtype_layout,
    torch.ops.mask_dino.select_highest.default,
)
"""Operations with inputs or a result of different types, as in their translations."""


def write_onnx(
    program: ExportedProgram, example: Tensor, info: ModelInfo, path: Path, opset: int
) -> None:
    """Write an ONNX file.

    Raises:
        ExportError: If the weights are too large for the format.
        OSError: If the file cannot be written.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if size > MAX_ONNX_BYTES:
        raise ExportError(
            f'the weights have {size} bytes, but an ONNX file has at most {MAX_ONNX_BYTES}: use --format torch'
        )
    exported = translate_program(program, example, info, opset)
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


def translate_program(
    program: ExportedProgram, example: Tensor, info: ModelInfo, opset: int
) -> torch.onnx.ONNXProgram:
    """Translate a program operation by operation; only where one has no translation, let torch.onnx decompose all."""
    remove_assertions(program)
    convert_types(program)
    if replace_mutations(program):
        with suppress(torch.onnx.OnnxExporterError), _without_decomposition(program):
            return _export(program, example, info, opset)
    return _export(program, example, info, opset)


@contextmanager
def _without_decomposition(program: ExportedProgram) -> Iterator[None]:
    """Keep torch.onnx from computing all sizes of a program again, which takes as long as the trace.

    It does so once to decompose operations, and once to find operations of different types of numbers.
    """
    graph = program.graph_module
    program.run_decompositions = lambda table=None: program  # type: ignore[method-assign]
    if not mixes_types(program):
        graph.modules = lambda: iter(())
    try:
        yield
    finally:
        del program.run_decompositions
        graph.__dict__.pop('modules', None)


def convert_types(program: ExportedProgram) -> None:
    """Convert the inputs of arithmetic to the type of its result, because operators of ONNX never do."""
    graph = program.graph_module.graph
    arithmetic = [node for node in graph.nodes if node.target in ARITHMETIC]
    for node in arithmetic:
        inputs = node.all_input_nodes
        others = [value for value in inputs if _type(value, length=torch.int64) != _type(node)]
        for value in others:
            node.replace_input_with(value, _insert_cast(value, node))
    program.graph_module.recompile()


def _insert_cast(value: fx.Node, before: fx.Node) -> fx.Node:
    """Return a node that converts a value to the type of the node before which it is inserted."""
    graph, result = before.graph, before.meta['val']
    tensor = value.meta['val']
    with graph.inserting_before(before):
        if isinstance(tensor, Tensor):
            cast = graph.call_function(aten.to.dtype, (value, result.dtype))
            converted = tensor.to(result.dtype)
        else:
            options = dict(dtype=result.dtype)
            cast = graph.call_function(aten.scalar_tensor.default, (value,), options)
            converted = result.new_empty(())
    cast.meta = {**before.meta, 'val': converted}
    return cast


def mixes_types(program: ExportedProgram) -> bool:
    """Tell whether an operation may need values of another type than it is given.

    Operations that are known to take or return several types do not count.
    """
    return any(_mixes_types(node) for node in program.graph_module.graph.nodes)


def _mixes_types(node: fx.Node) -> bool:
    if not isinstance(node.target, OpOverload) or node.target in SEVERAL_TYPES:
        return False
    inputs = {_type(value) for value in node.all_input_nodes} - {None}
    outputs = {_type(node)} - {None, torch.bool}
    return len(inputs) > 1 or bool(inputs and outputs - inputs)


def _type(node: fx.Node, length: torch.dtype | None = None) -> torch.dtype | None:
    """Return the type of a tensor; ``length`` for lengths, and None for other values."""
    value = node.meta.get('val')
    if isinstance(value, (int, torch.SymInt)):
        return length
    return value.dtype if isinstance(value, Tensor) else None


def remove_assertions(program: ExportedProgram) -> None:
    """Remove operations that only check their input."""
    graph = program.graph_module.graph
    for node in graph.nodes:
        if node.target in ASSERTIONS:
            graph.erase_node(node)


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
    readers = [user for user in node.users if user.target is not aten.sym_size.int]
    return not is_view and len(readers) == 1


def _without_mutation(target: OpOverload) -> OpOverload:
    """Return the operation that computes the same as one whose name ends in an underscore."""
    name = target._schema.name.removeprefix('aten::').removesuffix('_')
    overload: OpOverload = getattr(getattr(aten, name), target._overloadname)
    return overload
