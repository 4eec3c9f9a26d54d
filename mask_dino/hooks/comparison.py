"""How the tensors of a checkpoint fit a model, and how that is put into words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..checkpoints.convert import DERIVED
from ..datasets.findings import number, some

Shape = tuple[int, ...]

FEW = 0.1
"""Share of a model's tensors below which a checkpoint is that of another model."""
ORIGINAL = 'sem_seg_head.'
"""What names of the original implementation start with."""


class Comparison(NamedTuple):
    """Names of tensors, by how they fit."""

    taken: list[str]
    reshaped: dict[str, tuple[Shape, Shape]]  # in the checkpoint and in the model
    missing: list[str]  # in the checkpoint
    unknown: list[str]  # to the model

    @property
    def is_complete(self) -> bool:
        """Whether the model has all of its tensors from the checkpoint."""
        return not self.reshaped and not self.missing

    @property
    def is_foreign(self) -> bool:
        """Whether the checkpoint is that of another model."""
        return len(self.taken) < FEW * (len(self.taken) + len(self.reshaped) + len(self.missing))

    def __str__(self) -> str:
        """Return one line on each kind of tensors."""
        lines = [f'{number(len(self.taken), "tensor")} fit']
        if self.reshaped:
            shapes = (f'{name} {there} -> {here}' for name, (there, here) in self.reshaped.items())
            lines.append(f'{len(self.reshaped)} of another shape (checkpoint -> model): {some(shapes)}')
        if self.missing:
            lines.append(f'{len(self.missing)} of the model not in the checkpoint: {by_module(self.missing)}')
        if self.unknown:
            lines.append(f'{len(self.unknown)} of the checkpoint not in the model: {by_module(self.unknown)}')
        return '\n  '.join(lines)


def compare(checkpoint: Mapping[str, Shape], model: Mapping[str, Shape]) -> Comparison:
    """Compare names and shapes of a checkpoint with those of a model, as mmengine loads them."""
    shared = [name for name in model if name in checkpoint]
    reshaped = {name: (checkpoint[name], model[name]) for name in shared if checkpoint[name] != model[name]}
    return Comparison(
        taken=[name for name in shared if name not in reshaped],
        reshaped=reshaped,
        missing=[name for name in model if name not in checkpoint and not name.endswith(DERIVED)],
        unknown=[name for name in checkpoint if name not in model and not name.endswith(DERIVED)],
    )


def shapes(state: Mapping[str, Any]) -> dict[str, Shape]:
    """Return the shapes of the tensors in a state, whose names may come from a wrapped model."""
    return {
        name.removeprefix('module.'): tuple(value.shape) for name, value in state.items() if hasattr(value, 'shape')
    }


def is_original(names: Iterable[str]) -> bool:
    """Tell whether tensors go by the names of the original implementation."""
    return any(name.startswith(ORIGINAL) for name in names)


def by_module(names: Iterable[str]) -> str:
    """Count names by their first two parts, for they may be many."""
    counts = Counter('.'.join(name.split('.')[:2]) for name in names)
    return some(f'{module} ({count})' for module, count in counts.items())
