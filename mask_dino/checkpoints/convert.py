"""Checkpoints of the original implementation, converted for a model of this project."""

from collections.abc import Mapping
from typing import NamedTuple

from mmcv.ops import MultiScaleDeformableAttention
from torch import Tensor, nn

from .layout import Levels, read_levels, straighten
from .loading import CheckpointError
from .original import DERIVED as ORIGINAL_DERIVED
from .original import pairs, pairs_of_copies
from .renaming import Renamed, rename

# Buffers that follow from the config: the original has none of them, or in another layout.
DERIVED = ('num_batches_tracked', 'relative_position_index')


class Converted(NamedTuple):
    """The weights of a model, complete, and the names that were not simply renamed."""

    state: dict[str, Tensor]
    ignored: list[str]  # original tensors that have no place in the model, by intention
    derived: list[str]  # buffers of the model that follow from its config


def convert_original(state: Mapping[str, Tensor], model: nn.Module) -> Converted:
    """Convert tensors in the naming of the original, or of detrex, for a model built from a config of this project.

    Every tensor finds its place or is ignored by a rule, and every parameter and buffer of the model gets its value.

    Raises:
        CheckpointError: Names are unknown or missing, shapes or copies of a shared branch differ, or the proposals
            of the model belong to another order of levels. The message lists them.
    """
    target = model.state_dict()
    head = head_name(target)
    levels = read_levels(state)
    names = [*pairs(head), *pairs_of_copies(head)]
    renamed = rename(straighten(state, levels, num_heads(model)), names, ORIGINAL_DERIVED)
    derived = [name for name in target if name not in renamed.state and name.rpartition('.')[2] in DERIVED]
    if problems := compare(renamed, target, derived):
        raise CheckpointError('the tensors do not fit the model:\n' + '\n'.join(problems))
    check_anchors(levels, model.get_submodule(f'{head}.queries'))
    converted = {name: renamed.state.get(name, value) for name, value in target.items()}
    return Converted(converted, renamed.dropped, derived)


def head_name(target: Mapping[str, Tensor]) -> str:
    """Return the name of the Mask DINO head in a model with these weights."""
    mark = '.pixel_decoder.level_embed'
    found = next((name for name in target if name.endswith(mark)), None)
    if found is None:
        raise CheckpointError('the config is none of a Mask DINO: its model has no pixel_decoder.level_embed')
    return found.removesuffix(mark)


def check_anchors(levels: Levels, queries: nn.Module) -> None:
    """Refuse a model whose proposals have other sizes, which no tensor shows."""
    given = getattr(queries, 'anchor_sizes', None)
    if given is not None and tuple(given) != levels.anchor_sizes:
        raise CheckpointError(
            f'the levels of the checkpoint belong to queries.anchor_sizes={list(levels.anchor_sizes)}, '
            f'but the config has {list(given)}; set them in the config'
        )


def compare(renamed: Renamed, target: Mapping[str, Tensor], derived: list[str]) -> list[str]:
    """Return what keeps renamed tensors from being the weights of a model: of each kind of problem, all names."""
    strange = [renamed.origin[name] for name in renamed.state if name not in target]
    missing = [name for name in target if name not in renamed.state and name not in derived]
    shapes = [
        f'{renamed.origin[name]} {tuple(value.shape)}, in the model {name} {tuple(target[name].shape)}'
        for name, value in renamed.state.items()
        if name in target and value.shape != target[name].shape
    ]
    kinds = [('unknown', [*renamed.unknown, *strange]), ('missing', missing), ('of another shape', shapes)]
    return ['\n  '.join([f'{len(names)} {kind}:', *sorted(names)]) for kind, names in kinds if names]


def num_heads(model: nn.Module) -> int:
    """Return the heads of the deformable attention of a model."""
    heads: int = next(m.num_heads for m in model.modules() if isinstance(m, MultiScaleDeformableAttention))
    return heads
