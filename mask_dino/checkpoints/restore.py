"""Checkpoints of this project, converted back for the original implementation."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from .convert import DERIVED, head_name, num_heads
from .layout import Levels, straighten
from .loading import CheckpointError
from .original import COPIES, pairs
from .renaming import Pair, rename


class Restored(NamedTuple):
    """Weights under the names of the original."""

    state: dict[str, Tensor]
    derived: list[str]  # buffers of the model that the original makes itself


def restore_original(state: Mapping[str, Tensor], model: nn.Module) -> Restored:
    """Convert the weights of a model to the naming and the layout of the original.

    It is the reverse of :func:`~mask_dino.checkpoints.convert.convert_original`. What the original derives from its
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
    sizes = getattr(head.queries, 'anchor_sizes', None)
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
