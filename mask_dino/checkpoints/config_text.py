"""Configs inside checkpoints: their text is parsed, checked and written again, and never executed as it was found.

mmengine stores the config of a training as Python text in ``meta['cfg']`` and ``message_hub`` (``meta['config']`` in
mmcv 1.x), and ``Config.fromstring`` executes such text. Here a text is only accepted if it consists of assignments of
literals, which is what ``Config.pretty_text`` writes. The text that mmengine gets to see is written here, from the
values that were parsed.
"""

import ast
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from .trusted_names import UntrustedError, check_settings

CONFIG_PLACES = ('meta', 'message_hub')
"""The entries of a checkpoint in which mmengine, mmdet and mmseg look for configs."""
CONFIG_KEYS = ('cfg', 'config')
DTYPES = {str(value) for value in vars(torch).values() if isinstance(value, torch.dtype)}
"""The texts of torch's types, such as ``torch.float16``. They are read as ``'float16'``, which mmengine also takes."""
LITERALS = (type(None), bool, int, float, complex, str, bytes)


def secure_configs(checkpoint: dict, trusted_packages: Iterable[str] = ()) -> None:
    """Check the configs inside a checkpoint and replace their texts, in place, by texts of equal value.

    Args:
        trusted_packages: Packages that configs may name, besides the frameworks and the environment variable.

    Raises:
        UntrustedError: A config is not made of literals, or names what could run other code.
    """
    trusted = tuple(trusted_packages)
    for place in CONFIG_PLACES:
        if place in checkpoint:
            entry = checkpoint[place]
            checkpoint[place] = _secure_entry(entry, place, trusted)


def _secure_entry(entry: Any, place: str, trusted: tuple[str, ...]) -> Any:
    """Return nested dictionaries and lists with their configs secured.

    The dictionaries are new and plain: a pickle can give an ``OrderedDict`` an attribute ``items`` that hides entries.
    """
    if isinstance(entry, dict):
        secured = {}
        for key, value in dict.items(entry):
            secure = _secure_config if key in CONFIG_KEYS else _secure_entry
            secured[key] = secure(value, f'{place}[{key!r}]', trusted)
        return secured
    if isinstance(entry, (list, tuple)):
        places = (f'{place}[{index}]' for index in range(len(entry)))
        pairs = zip(entry, places, strict=True)
        return type(entry)([_secure_entry(value, inside, trusted) for value, inside in pairs])
    return entry


def _secure_config(config: Any, place: str, trusted: tuple[str, ...]) -> Any:
    """Check one config, which is a text in most files, and return a text or a plain dictionary of equal value."""
    try:
        settings = parse_config_text(config) if isinstance(config, str) else _make_plain(config)
        check_settings(settings, trusted)
    except UntrustedError as error:
        raise UntrustedError(f'the config in {place} {error}') from error
    if isinstance(config, str):
        return write_config_text(settings)
    return settings


def _make_plain(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _make_plain(value) for key, value in dict.items(settings)}
    if isinstance(settings, (list, tuple)):
        return type(settings)([_make_plain(value) for value in settings])
    return settings


def parse_config_text(text: str) -> dict[str, Any]:
    """Return the settings that a text assigns, without executing it.

    Raises:
        UntrustedError: The text contains anything but assignments of literals and of ``dict(...)`` of literals.
    """
    try:
        statements = ast.parse(text).body
        return dict(_read_assignment(statement) for statement in statements)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UntrustedError(f'cannot be parsed ({type(error).__name__}: {error})') from error


def _read_assignment(statement: ast.stmt) -> tuple[str, Any]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, _read_value(value)
    raise _refuse(statement)


def _read_value(node: ast.expr) -> Any:
    """Return the value of a literal, of a call of ``dict`` or ``set``, or the name of a type of torch."""
    match node:
        case ast.List(elts=items):
            return [_read_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_read_value(item) for item in items)
        case ast.Set(elts=items):
            return {_read_value(item) for item in items}
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_read_key(key, node): _read_value(value) for key, value in pairs}
        case ast.Call():
            return _read_call(node)
    return _read_scalar(node)


def _read_call(node: ast.Call) -> Any:
    """Return the value of ``dict(name=literal)``, of ``dict({...})`` or of ``set()``."""
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as mapping], keywords=[]):
            return _read_value(mapping)
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords):
            return {
                _read_keyword(keyword, node): _read_value(keyword.value) for keyword in keywords
            }
        case ast.Call(func=ast.Name(id='set'), args=[], keywords=[]):
            return set()
    raise _refuse(node)


def _read_scalar(node: ast.expr) -> Any:
    """Return the value of a number, a text, a constant or a type of torch."""
    match node:
        case ast.Constant(value=value) if isinstance(value, LITERALS):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _read_signed(node, operand)
        case ast.Name(id='inf' | 'nan' as name):  # pretty_text writes float('inf') so
            return float(name)
        case ast.Attribute(attr=name) if ast.unparse(node) in DTYPES:
            return name
    raise _refuse(node)


def _read_key(key: ast.expr | None, mapping: ast.expr) -> Any:
    if key is None:  # {**other}
        raise _refuse(mapping)
    return _read_value(key)


def _read_keyword(keyword: ast.keyword, call: ast.expr) -> str:
    if keyword.arg is None:  # dict(**other)
        raise _refuse(call)
    return keyword.arg


def _read_signed(node: ast.UnaryOp, operand: ast.expr) -> int | float | complex:
    number = _read_value(operand)
    if not isinstance(number, (int, float, complex)):
        raise _refuse(node)
    if isinstance(node.op, ast.USub):
        return -number
    return number


def _refuse(node: ast.stmt | ast.expr) -> UntrustedError:
    code = ast.unparse(node)
    shown = code if len(code) <= 60 else f'{code[:60]}...'
    return UntrustedError(
        f'has more than assignments of literals and of dict(...), which is all that mmengine writes: line '
        f'{node.lineno} has {shown!r}'
    )


def write_config_text(settings: dict[str, Any]) -> str:
    """Return Python text that assigns the settings, one a line, and consists of ASCII literals only."""
    return ''.join(f'{name} = {_write_value(value)}\n' for name, value in settings.items())


def _write_value(value: Any) -> str:
    if isinstance(value, dict):
        items = [f'{_write_value(key)}: {_write_value(item)}' for key, item in value.items()]
        return f'{{{", ".join(items)}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_write_value, value))}]'
    if isinstance(value, tuple):
        return f'({"".join(f"{_write_value(item)}, " for item in value)})'
    if value == set():
        return 'set()'
    if isinstance(value, set):
        return f'{{{", ".join(map(_write_value, value))}}}'
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    # mmengine replaces {{NAME}} and {{$NAME:DEFAULT}} in a text, also inside of strings, before it reads the text.
    return ascii(value).replace('{{', r'\x7b\x7b')


def find_unreadable(settings: Any, place: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values of a config, with their places, that would make its text in a checkpoint be refused.

    ``pretty_text`` writes the ``str`` of every object that is no text.
    """
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from find_unreadable(value, f'{place}.{key}' if place else str(key))
    elif isinstance(settings, (list, tuple, set)):
        for index, value in enumerate(settings):
            yield from find_unreadable(value, f'{place}[{index}]')
    elif type(settings) not in LITERALS and not _is_readable(settings):
        yield place, settings


def _is_readable(value: Any) -> bool:
    text = repr(value) if isinstance(value, str) else str(value)
    try:
        parse_config_text(f'value = {text}')
    except UntrustedError:
        return False
    return True
