"""Checks of arguments, and of values of JSON, which become named tuples."""

from math import inf, isfinite
from numbers import Real
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

Fields = TypeVar('Fields', bound=tuple)


def check_count(name: str, value: Any, maximum: int | None = None) -> None:
    """Check that an argument is a whole number from 1 to a maximum.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is too small or too large.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f'{name}={value!r} must be a whole number')
    if value < 1:
        raise ValueError(f'{name}={value} must be 1 or more')
    if maximum is not None and value > maximum:
        raise ValueError(f'{name}={value} must be at most {maximum}')


def check_number(name: str, value: Any) -> None:
    """Check that an argument is a finite number.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f'{name}={value!r} must be a number')
    if not isfinite(value):
        raise ValueError(f'{name}={value} must be finite')


def parse_fields(fields: object, kind: type[Fields], place: str) -> Fields:
    """Return the named tuple of a type, which must have exactly its fields, with values of their types.

    Args:
        place: Name of the value in messages.

    Raises:
        TypeError: If fields are missing or unknown, or if a value has another type.
        ValueError: If a number is NaN, infinite or too large.
    """
    hints = get_type_hints(kind)
    if not isinstance(fields, dict):
        raise TypeError(f'{place} must have the fields {", ".join(hints)}, not be {fields!r}')
    for problem, names in (
        ('lacks', hints.keys() - fields),
        ('has unknown', fields.keys() - hints),
    ):
        if names:
            raise TypeError(f'{place} {problem} {", ".join(sorted(names))}')
    return kind(
        **{name: _convert(fields[name], hint, f'{place}.{name}') for name, hint in hints.items()}
    )


def _convert(value: object, hint: Any, place: str) -> object:
    """Return a value of JSON as the type that a field is declared with."""
    kinds = get_args(hint)
    if NoneType in kinds:
        return None if value is None else _convert(value, kinds[0], place)
    if get_origin(hint) is tuple:
        return _convert_list(value, kinds, place)
    if issubclass(hint, tuple):
        return parse_fields(value, hint, place)
    # In JSON, 1.0 may have become 1; a bool is an int in Python only.
    known = (float, int) if hint is float else (hint,)
    if type(value) not in known:
        raise TypeError(f'{place} must be {hint.__name__}, not {value!r}')
    return _to_float(value, place) if hint is float else value


def _to_float(value: Any, place: str) -> float:
    """Return a number as float, and refuse NaN and infinity, which JSON can hold in Python."""
    try:
        number = float(value)
    except OverflowError:
        number = inf
    if not isfinite(number):
        raise ValueError(f'{place} must be finite, not {number}')
    return number


def _convert_list(value: object, kinds: tuple, place: str) -> tuple:
    """Return a list of JSON as a tuple, of any length where ``kinds`` ends in an ellipsis."""
    if not isinstance(value, list):
        raise TypeError(f'{place} must be a list, not {value!r}')
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        raise TypeError(f'{place} must have {len(kinds)} values, not {value!r}')
    items = zip(value, kinds, strict=True)
    return tuple(_convert(item, kind, place) for item, kind in items)
