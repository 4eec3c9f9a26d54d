"""The few types a checkpoint may name beside torch's own: what mmengine's training state consists of.

That is ``HistoryBuffer`` (the logged scalars) and numpy arrays and scalars of numbers. mmengine pickles a buffer with
its statistics as ``getattr(HistoryBuffer, 'mean')``, and numpy pickles through functions that accept far more than
numbers. None of these functions is called: stand-ins under their names do the one thing that is needed.
``argparse.Namespace``, in which the original DINO keeps its options, holds values and does nothing.
"""

import _codecs
import argparse
import collections
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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

    A copy, as numpy would make, takes its flags from the pickle, and forged flags let numpy follow numbers as pointers.
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
    return np.frombuffer(data.encode('latin1') if isinstance(data, str) else data, dtype, count=1)[0]


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


_Config.__module__, _Config.__qualname__ = 'mmengine.config.config', 'Config'


def _named(function: Callable[..., Any], path: str) -> Callable[..., Any]:
    """Give a stand-in the name it stands for, by which torch's allow-list finds it."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, stand_in.__name__ = path.rsplit('.', 1)
    stand_in.__qualname__ = stand_in.__name__
    return stand_in


# numpy 2 renamed the module that numpy 1 wrote into its pickles.
NUMPY: tuple[Any, ...] = (
    np.ndarray,
    *(type(np.dtype(code)) for code in NUMERIC_CODES),
    _named(_dtype, 'numpy.dtype'),
    *(_named(_empty, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
    *(_named(_scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
    *(_named(_from_buffer, f'numpy.{core}.numeric._frombuffer') for core in ('core', '_core')),
)
PLAIN: tuple[Any, ...] = (*NUMPY, collections.OrderedDict, collections.Counter, _codecs.encode, argparse.Namespace)
MMENGINE: tuple[Any, ...] = (
    *PLAIN,
    HistoryBuffer,
    _Config,
    _named(_config_dict, 'mmengine.config.config.ConfigDict'),
    _named(_statistic, 'builtins.getattr'),
)
