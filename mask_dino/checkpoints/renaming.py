"""Renaming of checkpoint tensors by ordered patterns."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from .loading import CheckpointError

Rule = tuple[str, str]
"""A regular expression that matches a whole name, and its replacement; an empty one drops the tensor."""


class Renamed(NamedTuple):
    """Tensors under their new names, and what became of the other names."""

    state: dict[str, Tensor]
    origin: dict[str, str]  # the old name of each new one; one of them where copies were merged
    dropped: list[str]  # by a rule
    unknown: list[str]  # to every rule


def rename(state: Mapping[str, Tensor], rules: Iterable[Rule]) -> Renamed:
    """Rename tensors by the first rule that matches each name; copies that come out under one name become one.

    Raises:
        CheckpointError: Tensors of different values would share a name.
    """
    patterns = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed = Renamed({}, {}, [], [])
    for name, value in state.items():
        pattern, replacement = next(((p, r) for p, r in patterns if p.fullmatch(name)), (None, ''))
        if pattern is None:
            renamed.unknown.append(name)
        elif not replacement:
            renamed.dropped.append(name)
        else:
            _add(renamed, pattern.sub(replacement, name), name, value)
    return renamed


def _add(renamed: Renamed, target: str, name: str, value: Tensor) -> None:
    if target in renamed.state and not renamed.state[target].equal(value):
        raise CheckpointError(
            f'{renamed.origin[target]} and {name} should be copies of one tensor, {target}, but their values differ'
        )
    renamed.state[target] = value
    renamed.origin[target] = name
