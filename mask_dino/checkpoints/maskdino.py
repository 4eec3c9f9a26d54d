"""Weights of the original implementation (also from detrex) for a model of this project, and the way back."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..ops.deformable_attention import DeformableAttention
from .level_order import Levels, read_levels, reorder_tensors
from .loading import CheckpointError
from .maskdino_names import CONSTANTS, list_copies, list_further_names, list_names, rename_tensors

Shape = tuple[int, ...]

DERIVED = ('num_batches_tracked', 'relative_position_index')
"""Buffers that follow from the config: the original has none of them, or in another layout."""


class Converted(NamedTuple):
    """The weights of a model, complete, and the names that were not simply renamed."""

    state: dict[str, Tensor]
    ignored: list[str]  # original tensors that have no place in the model, by intention
    derived: list[str]  # buffers of the model that follow from its config
    levels: Levels  # of the original's encoder


def from_original(state: Mapping[str, Tensor], model: nn.Module) -> Converted:
    """Convert tensors in the naming of the original, or of detrex, for a model built from a config of this project.

    Every tensor finds its place or is ignored by a rule, and every parameter and buffer of the model gets its value.

    Raises:
        CheckpointError: Names are unknown or missing, shapes or copies of a shared branch differ, or the proposals
            of the model belong to another order of levels. The message lists them.
    """
    target = model.state_dict()
    head = find_head_name(target)
    levels = read_levels(state)
    ordered = reorder_tensors(state, levels, count_heads(model))
    names = [*list_names(head), *list_copies(head)]
    renamed = rename_tensors(ordered, names, CONSTANTS)
    check_fit(renamed.state, target, renamed.unknown, renamed.origin)
    check_anchors(levels, model.get_submodule(f'{head}.queries'))
    derived = [name for name in target if name not in renamed.state]
    converted = {name: renamed.state.get(name, value) for name, value in target.items()}
    return Converted(converted, renamed.dropped, derived, levels)


class Restored(NamedTuple):
    """Weights under the names of the original."""

    state: dict[str, Tensor]
    derived: list[str]  # buffers of the model that the original makes itself


def to_original(state: Mapping[str, Tensor], model: nn.Module) -> Restored:
    """Convert the weights of a model to the naming and the layout of the original; the reverse of `from_original`.

    What the original derives from its config is left out: ``criterion.empty_weight`` and Swin's
    ``relative_position_index``.

    Raises:
        CheckpointError: Names are unknown to the original, or missing, or shapes differ.
    """
    target = model.state_dict()
    head = find_head_name(target)
    check_fit(state, target)
    derived = [name for name in state if name.endswith(DERIVED)]
    weights = {name: value for name, value in state.items() if name not in derived}
    renamed = rename_tensors(weights, [pair.reverse() for pair in list_names(head)])
    if renamed.unknown:
        raise CheckpointError(f'the original has no name for {", ".join(renamed.unknown)}')
    modules: Any = model.get_submodule(head)
    levels = infer_levels(modules)
    restored = reorder_tensors(renamed.state, levels, count_heads(model), reverse=True)
    copies = rename_copies(restored, len(modules.decoder.layers))
    return Restored(restored | copies, derived)


def rename_copies(state: Mapping[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """Return the box branch and the norm under the further names that the original has for them.

    Raises:
        CheckpointError: The values of the copies differ.
    """
    copies: dict[str, Tensor] = {}
    for pair in list_further_names(num_layers):
        copies |= rename_tensors(state, [pair]).state
    return copies


def find_head_name(target: Mapping[str, Tensor]) -> str:
    """Return the name of the Mask DINO head in a model with these weights.

    Raises:
        CheckpointError: The model has none.
    """
    mark = '.pixel_decoder.level_embed'
    for name in target:
        if name.endswith(mark):
            return name.removesuffix(mark)
    raise CheckpointError(
        'the config does not describe a Mask DINO: its model has no tensor pixel_decoder.level_embed. Give a config '
        'from configs/maskdino, or one that is built on it'
    )


def count_heads(model: nn.Module) -> int:
    """Return the number of heads of the deformable attention of a model."""
    heads: int = next(
        module.num_heads for module in model.modules() if isinstance(module, DeformableAttention)
    )
    return heads


def check_anchors(levels: Levels, queries: Any) -> None:
    """Refuse a model whose proposals have other sizes, which no tensor shows.

    Raises:
        CheckpointError: The sizes differ.
    """
    sizes = queries.anchor_sizes
    if sizes is not None and sizes != levels.anchor_sizes:
        raise CheckpointError(
            f'the levels of the checkpoint belong to queries.anchor_sizes={list(levels.anchor_sizes)}, '
            f'but the config has {list(sizes)}; set them in the config'
        )


def infer_levels(head: Any) -> Levels:
    """Return the levels as the published models of this kind have them.

    The anchor sizes of selected queries show the order. Published models with learned queries are coarse to fine.
    """
    pixel_decoder = head.pixel_decoder
    channels = tuple(pixel_decoder.in_channels[pixel_decoder.first_level :])
    num_extra = len(pixel_decoder.input_convs) - len(channels)
    sizes = head.queries.anchor_sizes
    coarse_first = sizes is None or sizes[0] < sizes[-1]
    ordered = channels[::-1] if coarse_first else channels
    return Levels(ordered, num_extra)


class Comparison(NamedTuple):
    """Names of tensors, grouped by how a checkpoint fits a model. Buffers that follow from a config do not count."""

    fitting: list[str]
    reshaped: dict[str, tuple[Shape, Shape]]  # in the checkpoint and in the model
    missing: list[str]  # in the checkpoint
    unknown: list[str]  # to the model


def compare_tensors(checkpoint: Mapping[str, Shape], model: Mapping[str, Shape]) -> Comparison:
    """Compare names and shapes of a checkpoint with a model, as mmengine loads them."""
    result = Comparison([], {}, [], [])
    for name, expected in model.items():
        shape = checkpoint.get(name)
        if shape == expected:
            result.fitting.append(name)
        elif shape is not None:
            result.reshaped[name] = (shape, expected)
        elif not name.endswith(DERIVED):
            result.missing.append(name)
    unknown = [name for name in checkpoint if name not in model]
    result.unknown.extend(name for name in unknown if not name.endswith(DERIVED))
    return result


def check_fit(
    state: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    unknown: Iterable[str] = (),
    origin: Mapping[str, str] | None = None,
    new_parts: Iterable[str] = (),
) -> None:
    """Refuse converted tensors that are not all weights of a model.

    Args:
        state: Tensors under the names of the model.
        target: The weights of the model.
        unknown: Names in the file that could not be converted.
        origin: Names in the file of the converted tensors, for the message.
        new_parts: Parts of names whose tensors may be missing.

    Raises:
        CheckpointError: The message lists all names, by kind of problem.
    """
    result = compare_tensors(read_shapes(state), read_shapes(target))
    names = dict(origin or {})
    missing = [name for name in result.missing if not any(part in name for part in new_parts)]
    reshaped = [
        f'{names.get(name, name)} {shape}, in the model {name} {expected}'
        for name, (shape, expected) in result.reshaped.items()
    ]
    kinds = {
        'unknown': [*unknown, *(names.get(name, name) for name in result.unknown)],
        'missing': missing,
        'of another shape': reshaped,
    }
    problems = [
        '\n  '.join([f'{len(lines)} {kind}:', *sorted(lines)])
        for kind, lines in kinds.items()
        if lines
    ]
    if problems:
        raise CheckpointError('\n'.join(['the tensors do not fit the model:', *problems]))


def read_shapes(state: Mapping[str, Any]) -> dict[str, Shape]:
    """Return the shapes of the tensors in a state, without the prefix that wrappers for several processes add."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return {name.removeprefix('module.'): tuple(value.shape) for name, value in tensors.items()}
