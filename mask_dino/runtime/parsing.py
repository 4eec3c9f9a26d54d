"""From values of JSON to named tuples, with their types checked."""

from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Fields = TypeVar('Fields', bound=tuple)


def parse_fields(fields: object, kind: type[Fields], place: str) -> Fields:
    """Return the named tuple of a type, which must have exactly its fields, with values of their types.

    Args:
        place: Name of the value in messages.

    Raises:
        TypeError: If fields are missing or unknown, or if a value has another type.
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
    return value


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
