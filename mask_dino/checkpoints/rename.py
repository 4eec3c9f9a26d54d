"""Renaming of checkpoint tensors by pairs of patterns."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from .loading import CheckpointError

WILDCARDS = {'#': r'(\d+)', '*': r'(.+)', '?': r'\d+'}


class Pair(NamedTuple):
    """Two names of tensors: ``#`` is a number and ``*`` is anything, the same and in the same order in both.

    ``?`` is any number, which the other name lacks.
    """

    source: str
    target: str

    def reverse(self) -> 'Pair':
        """Return the pair that leads back."""
        return Pair(self.target, self.source)


class Renamed(NamedTuple):
    """Tensors under their new names, and what became of the other names."""

    state: dict[str, Tensor]
    origin: dict[str, str]  # the old name of each new one; one of them where copies were merged
    dropped: list[str]  # on purpose
    unknown: list[str]  # to every pair


def rename(
    state: Mapping[str, Tensor], pairs: Iterable[Pair], dropped: Iterable[str] = ()
) -> Renamed:
    """Rename tensors by the first pair that fits; copies that come out under one name become one.

    Args:
        dropped: Patterns of names to leave out.

    Raises:
        CheckpointError: Tensors of different values would share a name.
    """
    patterns = [(compile_pattern(pair.source), pair.target) for pair in pairs]
    dropped_patterns = [compile_pattern(name) for name in dropped]
    renamed = Renamed({}, {}, [], [])
    for name, value in state.items():
        new_name = _rename_one(name, patterns)
        if any(pattern.fullmatch(name) for pattern in dropped_patterns):
            renamed.dropped.append(name)
        elif new_name is None:
            renamed.unknown.append(name)
        else:
            _add(renamed, new_name, name, value)
    return renamed


def compile_pattern(name: str) -> re.Pattern:
    """Return the regular expression of a name with wildcards."""
    parts = re.split(r'([#*?])', name)
    return re.compile(''.join(WILDCARDS.get(part, re.escape(part)) for part in parts))


def _rename_one(name: str, patterns: Iterable[tuple[re.Pattern, str]]) -> str | None:
    """Return the new name by the first pattern that matches; None if there is none."""
    for source, target in patterns:
        match = source.fullmatch(name)
        if match:
            values = iter(match.groups())
            return re.sub(r'[#*]', lambda _: next(values), target)  # noqa: B023  used at once
    return None


def _add(renamed: Renamed, target: str, name: str, value: Tensor) -> None:
    if target in renamed.state and not renamed.state[target].equal(value):
        raise CheckpointError(
            f'{renamed.origin[target]} and {name} should be copies of one tensor, {target}, but their values differ'
        )
    renamed.state[target] = value
    renamed.origin[target] = name
