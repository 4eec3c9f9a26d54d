"""The few types that a checkpoint may name besides torch's own: the parts of mmengine's training state.

These are ``HistoryBuffer`` (the logged scalars), configs, and numpy arrays and scalars of numbers. mmengine pickles a
buffer with its statistics as ``getattr(HistoryBuffer, 'mean')``, and numpy pickles through functions that accept far
more than numbers. None of these functions is called: stand-ins under their names do the one thing that is needed.
The original DINO keeps its options in ``argparse.Namespace``, which only holds values.
"""

import _codecs
import argparse
import collections
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

NUMERIC_CODES = '?bBhHiIlLqQefdFD'


class RefusedError(Exception):
    """A pickle asks for something that no checkpoint needs."""


def _statistic(owner: object, name: object) -> Callable[..., Any]:
    """The stand-in for ``getattr``."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise RefusedError(f'builtins.getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, str(name))


def _dtype(code: object, align: bool = False, copy: bool = False) -> np.dtype:
    """The stand-in for ``numpy.dtype``: numpy's own immutable instance, which ignores the pickled byte order and flags.

    numpy itself would make a copy with the flags of the pickle. With forged flags, it would use numbers as pointers.
    """
    dtype = np.dtype(code) if isinstance(code, str) else None
    if dtype is None or dtype.char not in NUMERIC_CODES or dtype is not np.dtype(dtype.char):
        raise RefusedError(f'numpy.dtype({code!r})')
    return dtype


def _empty(subtype: object, shape: object, typecode: object) -> np.ndarray:
    """The stand-in for ``numpy.core.multiarray._reconstruct``: an array that is about to receive its state."""
    if subtype is not np.ndarray:
        raise RefusedError(f'an array of type {subtype!r}')
    return np.empty(0, np.int8)


def _scalar(dtype: np.dtype, data: bytes | str) -> np.generic:
    """The stand-in for ``numpy.core.multiarray.scalar``."""
    content = data.encode('latin1') if isinstance(data, str) else data
    return np.frombuffer(content, dtype, count=1)[0]


def _from_buffer(data: bytes, dtype: np.dtype, shape: Sequence[int], order: str) -> np.ndarray:
    """The stand-in for ``numpy.core.numeric._frombuffer``, which pickles of protocol 5 use."""
    return np.frombuffer(data, dtype).reshape(shape, order='F' if order == 'F' else 'C')


def _config_dict(settings: object = ()) -> dict:
    """The stand-in for ``mmengine.config.config.ConfigDict``: a plain dictionary."""
    if not isinstance(settings, dict):
        raise RefusedError(f'mmengine.config.ConfigDict({settings!r})')
    return settings


class _Config(dict):
    """The stand-in for ``mmengine.config.config.Config``: a dictionary of its settings."""

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and state and isinstance(state[0], dict)):
            raise RefusedError(f'mmengine.config.Config with the state {state!r}')
        self.update(state[0])


def _own_path(thing: Any) -> str:
    return f'{thing.__module__}.{thing.__qualname__}'


# numpy 2 renamed the module that numpy 1 wrote into its pickles.
PLAIN: dict[str, Any] = {
    **{
        _own_path(kind): kind
        for kind in (np.ndarray, *(type(np.dtype(code)) for code in NUMERIC_CODES))
    },
    'numpy.dtype': _dtype,
    'numpy.core.multiarray._reconstruct': _empty,
    'numpy._core.multiarray._reconstruct': _empty,
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
    'numpy.core.numeric._frombuffer': _from_buffer,
    'numpy._core.numeric._frombuffer': _from_buffer,
    'collections.OrderedDict': collections.OrderedDict,
    'collections.Counter': collections.Counter,
    '_codecs.encode': _codecs.encode,
    'argparse.Namespace': argparse.Namespace,
}
"""What a plain pickle may name, by its path, and what takes its place."""
MMENGINE: dict[str, Any] = {
    **PLAIN,
    _own_path(HistoryBuffer): HistoryBuffer,
    'mmengine.config.config.Config': _Config,
    'mmengine.config.config.ConfigDict': _config_dict,
    'builtins.getattr': _statistic,
}
"""What a file of torch may name besides torch's own types."""


def _rename(thing: Any, path: str) -> Any:
    """Return a stand-in under the name it stands for, by which the allow-list of old versions of torch finds it."""
    if _own_path(thing) == path:
        return thing
    if isinstance(thing, type):
        renamed: Any = type(thing.__name__, (thing,), {})
    else:

        def renamed(*args: Any) -> Any:
            return thing(*args)

    renamed.__module__, renamed.__name__ = path.rsplit('.', 1)
    renamed.__qualname__ = renamed.__name__
    return renamed


TAKES_PATHS = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 7)
SAFE_GLOBALS = [
    (thing, path) if TAKES_PATHS else _rename(thing, path) for path, thing in MMENGINE.items()
]
"""The same for ``torch.serialization.add_safe_globals``."""
