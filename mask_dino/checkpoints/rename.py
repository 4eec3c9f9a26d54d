"""Renaming of checkpoint tensors by pairs of patterns."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from .loading import CheckpointError

WILDCARDS = {'#': r'(\d+)', '*': r'(.+)', '?': r'\d+'}


class Pair(NamedTuple):
    """Two names of tensors: ``#`` is a number and ``*`` anything, the same and in the same order in both.

    ``?`` is any number, which the other name lacks.
    """

    source: str
    target: str

    def reversed(self) -> 'Pair':
        """Return what leads back."""
        return Pair(self.target, self.source)


class Renamed(NamedTuple):
    """Tensors under their new names, and what became of the other names."""

    state: dict[str, Tensor]
    origin: dict[str, str]  # the old name of each new one; one of them where copies were merged
    dropped: list[str]  # on purpose
    unknown: list[str]  # to every pair


def rename(state: Mapping[str, Tensor], pairs: Iterable[Pair], dropped: Iterable[str] = ()) -> Renamed:
    """Rename tensors by the first pair that fits; copies that come out under one name become one.

    Args:
        dropped: Patterns of names to leave out.

    Raises:
        CheckpointError: Tensors of different values would share a name.
    """
    compiled = [(pattern(pair.source), pair.target) for pair in pairs]
    left_out = [pattern(name) for name in dropped]
    renamed = Renamed({}, {}, [], [])
    for name, value in state.items():
        matches = ((found, target) for source, target in compiled if (found := source.fullmatch(name)))
        match, target = next(matches, (None, ''))
        if any(source.fullmatch(name) for source in left_out):
            renamed.dropped.append(name)
        elif match is None:
            renamed.unknown.append(name)
        else:
            _add(renamed, fill(target, match.groups()), name, value)
    return renamed


def pattern(name: str) -> re.Pattern:
    """Return the regular expression of a name with wildcards."""
    return re.compile(''.join(WILDCARDS.get(part, re.escape(part)) for part in re.split(r'([#*?])', name)))


def fill(name: str, values: Iterable[str]) -> str:
    """Put values in the place of the wildcards of a name, in their order."""
    remaining = iter(values)
    return re.sub(r'[#*]', lambda _: next(remaining), name)


def _add(renamed: Renamed, target: str, name: str, value: Tensor) -> None:
    if target in renamed.state and not renamed.state[target].equal(value):
        raise CheckpointError(
            f'{renamed.origin[target]} and {name} should be copies of one tensor, {target}, but their values differ'
        )
    renamed.state[target] = value
    renamed.origin[target] = name
