"""Checkpoints of the original implementation, converted for a model of this project."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..ops.deformable_attention import DeformableAttention
from .io import build_model, configured, read_ours
from .level_order import Levels, read_levels, straighten
from .loading import CheckpointError
from .maskdino_names import COPIES, pairs, pairs_of_copies
from .maskdino_names import DERIVED as ORIGINAL_DERIVED
from .rename import Pair, Renamed, rename

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


def check_anchors(levels: Levels, queries: Any) -> None:
    """Refuse a model whose proposals have other sizes, which no tensor shows."""
    sizes = queries.anchor_sizes
    if sizes is not None and sizes != levels.anchor_sizes:
        raise CheckpointError(
            f'the levels of the checkpoint belong to queries.anchor_sizes={list(levels.anchor_sizes)}, '
            f'but the config has {list(sizes)}; set them in the config'
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
    heads: int = next(m.num_heads for m in model.modules() if isinstance(m, DeformableAttention))
    return heads


class Restored(NamedTuple):
    """Weights under the names of the original."""

    state: dict[str, Tensor]
    derived: list[str]  # buffers of the model that the original makes itself


def restore_original(state: Mapping[str, Tensor], model: nn.Module) -> Restored:
    """Convert the weights of a model to the naming and the layout of the original.

    It is the reverse of :func:`~mask_dino.checkpoints.maskdino.convert_original`. What the original derives from its
    config is left out: ``criterion.empty_weight`` and Swin's ``relative_position_index``.

    Raises:
        CheckpointError: Names are unknown to the original, or missing, or shapes differ.
    """
    target = model.state_dict()
    head = head_name(target)
    derived = [name for name in state if name.rpartition('.')[2] in DERIVED]
    weights = {name: value for name, value in state.items() if name not in derived}
    check(weights, target)
    renamed = rename(weights, [pair.reversed() for pair in pairs(head)])
    if renamed.unknown:
        raise CheckpointError(f'the original has no name for {", ".join(renamed.unknown)}')
    part: Any = model.get_submodule(head)
    levels = original_levels(part)
    restored = straighten(renamed.state, levels, num_heads(model), reverse=True)
    return Restored(restored | copy(restored, len(part.decoder.layers)), derived)


def check(weights: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not those of the model."""
    wanted = {name: value.shape for name, value in target.items() if name.rpartition('.')[2] not in DERIVED}
    given = {name: value.shape for name, value in weights.items()}
    wrong = [name for name in {**wanted, **given} if wanted.get(name) != given.get(name)]
    if wrong:
        raise CheckpointError(
            f'the weights are not those of the config: {len(wrong)} missing, unknown or of another shape:\n  '
            + '\n  '.join(sorted(wrong))
        )


def original_levels(head: Any) -> Levels:
    """Return the levels as the published models of this kind have them: the anchors tell; learned queries have none."""
    pixel_decoder = head.pixel_decoder
    channels = pixel_decoder.in_channels[pixel_decoder.first_level :]
    sizes = head.queries.anchor_sizes
    coarse_first = sizes is None or sizes[0] < sizes[-1]
    ordered = tuple(reversed(channels)) if coarse_first else tuple(channels)
    return Levels(ordered, len(pixel_decoder.input_convs) - len(channels))


def copy(state: Mapping[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """Return the box branch and the norm under the further names that the original has for them."""
    copies: dict[str, Tensor] = {}
    for first, further in COPIES:
        for number in range(num_layers):
            copies |= rename_those(state, Pair(first, further.replace('?', str(number))))
    return copies


def rename_those(state: Mapping[str, Tensor], pair: Pair) -> dict[str, Tensor]:
    """Return the tensors that a pair renames."""
    return rename(state, [pair]).state


SIZE = (128, 160)
SEED = 0


def fingerprint(path: Path) -> str:
    """Load a checkpoint strictly into the model of the config that it holds, and describe what that predicts.

    Equal weights give equal fingerprints, up to rounding.

    Raises:
        CheckpointError: The file lacks its config, its tensors do not fit, or the predictions are not finite.
    """
    checkpoint = read_ours(path)
    model = build_model(configured(checkpoint, path))
    try:
        model.load_state_dict(checkpoint['state_dict'], strict=True)
    except RuntimeError as error:
        raise CheckpointError(f'{path} does not fit its config: {error}') from error
    return describe(model, path)


@torch.no_grad()
def describe(model: nn.Module, path: Path) -> str:
    """Return the mean magnitude of what a model predicts for a seeded image of noise."""
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(SEED))
    predictions = model.eval()(image, None, mode='tensor')
    if not all(x.isfinite().all() for x in predictions):
        raise CheckpointError(f'{path} predicts values that are not finite')
    values = zip(predictions._fields, predictions, strict=True)
    return ', '.join(f'{name} {tuple(x.shape)} {x.abs().mean():.4f}' for name, x in values)
