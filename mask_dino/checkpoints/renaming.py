"""Renaming of checkpoint tensors by ordered patterns."""

import re
from collections.abc import Iterable

from torch import Tensor

Rule = tuple[str, str]
"""A regular expression that matches a whole name, and its replacement; an empty one drops the tensor."""


def rename(state: dict[str, Tensor], rules: Iterable[Rule]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Return the renamed tensors, the names that were dropped, and the names that no rule knows.

    The first rule that matches a name decides. Tensors that come out under one name must be equal.

    Raises:
        ValueError: If tensors of different values would share a name.
    """
    patterns = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed: dict[str, Tensor] = {}
    dropped, unknown = [], []
    for name, value in state.items():
        rule = next(((p, r) for p, r in patterns if p.fullmatch(name)), None)
        if rule is None:
            unknown.append(name)
        elif not rule[1]:
            dropped.append(name)
        else:
            target = rule[0].sub(rule[1], name)
            if target in renamed and not renamed[target].equal(value):
                raise ValueError(f'{name} and another tensor both become {target}, but their values differ')
            renamed[target] = value
    return renamed, dropped, unknown
