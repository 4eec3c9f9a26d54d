"""Reading checkpoint files of unknown origin: weights and training state load, code does not run."""

import json
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import NoneType
from typing import IO, Any

import numpy as np
import torch

from ..messages import missing_file
from .config_text import UntrustedError, secure_configs
from .safe_types import PLAIN, RefusedError

MapLocation = str | torch.device | Callable[..., Any] | None

ZIP_HEAD = b'PK\x03\x04'
# What files of torch < 1.6 start with: a pickled magic number.
LEGACY_HEAD = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
PICKLE_HEAD = b'\x80'
DICTIONARIES = ('meta', 'state_dict', 'message_hub')
"""Entries that are dictionaries where they exist."""
CAN_ALLOW = hasattr(torch.serialization, 'add_safe_globals')


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or it is unsafe: the message names the file, the problem and the remedy."""


def load_checkpoint_safely(
    path: str | Path, map_location: MapLocation = 'cpu', trusted_packages: Iterable[str] = ()
) -> dict:
    """Read a dictionary from a file of torch, a plain pickle of numpy arrays as Detectron2 writes them, or safetensors.

    The arrays of a plain pickle become tensors, on the CPU. Texts of configs in ``meta`` and ``message_hub`` are
    parsed, checked and replaced by texts of the same value.

    Args:
        trusted_packages: Packages that a config in the file may name, besides the frameworks and the packages of the
            environment variable ``MASK_DINO_TRUSTED_PACKAGES``.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, is no checkpoint, or asks for a type or a class that is not allowed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(missing_file('checkpoint', path))
    try:
        checkpoint = _read(path, map_location)
    except CheckpointError:
        raise
    except RefusedError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(
            f'checkpoint {path} ({path.stat().st_size} bytes) cannot be read: it seems to be damaged or cut short; '
            f'copy or download it again. The error was {type(error).__name__}: {error}'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'checkpoint {path} holds a {type(checkpoint).__name__}, not a dictionary of weights'
        )
    return secure_checkpoint(checkpoint, path, trusted_packages)


def secure_checkpoint(
    checkpoint: dict, source: str | Path, trusted_packages: Iterable[str] = ()
) -> dict:
    """Secure the configs inside a checkpoint, in place, and return it.

    Args:
        source: The file or URL, for the message.

    Raises:
        CheckpointError: A config could run code, or an entry that must be a dictionary is something else.
    """
    for key in DICTIONARIES:
        value = checkpoint.get(key, {})
        kinds = (dict,) if key == 'state_dict' else (dict, NoneType)
        if not isinstance(value, kinds):
            raise CheckpointError(
                f'checkpoint {source} holds a {type(value).__name__} under {key!r} instead of a dictionary: it is no '
                'checkpoint of OpenMMLab, or it is damaged'
            )
    names = checkpoint.get('state_dict', checkpoint)
    others = [name for name in names if not isinstance(name, str)]
    if others:
        raise CheckpointError(
            f'checkpoint {source} has tensors with names that are no text, such as {others[0]!r}: it is no checkpoint '
            'of OpenMMLab, or it is damaged'
        )
    try:
        secure_configs(checkpoint, trusted_packages)
    except UntrustedError as error:
        raise CheckpointError(f'checkpoint {source} was refused: {error}') from error
    except RecursionError as error:
        raise CheckpointError(
            f'checkpoint {source} was refused: its meta data are nested too deeply'
        ) from error
    return checkpoint


def _read(path: Path, map_location: MapLocation) -> Any:
    with path.open('rb') as file:
        head = file.read(len(LEGACY_HEAD))
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    if head.startswith(ZIP_HEAD) or head == LEGACY_HEAD:
        return _read_torch(path, map_location)
    if head.startswith(PICKLE_HEAD):
        with path.open('rb') as file:
            return _tensors(_PlainUnpickler(file, encoding='latin1').load())
    raise CheckpointError(
        f'checkpoint {path} is neither a file of torch.save nor a pickle: it starts with {head!r}. It is damaged or '
        'something else, for example a web page or a git-lfs pointer; download it again.'
    )


def _read_torch(path: Path, map_location: MapLocation) -> Any:
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if 'unexpected EOF' in str(error):  # what torch 2.4 says of a file that was cut short
            raise EOFError(_describe_refused(str(error))) from error
        raise RefusedError(_describe_refused(str(error))) from error
    except RuntimeError as error:
        if 'TorchScript' not in str(error):
            raise
        raise RefusedError('a TorchScript program') from error


META_KEY = 'mask_dino_meta'
"""Entry of a safetensors file's metadata with ``meta`` of the checkpoint, as JSON."""


def _read_safetensors(path: Path) -> dict:
    """Return the tensors of a file; with the meta data that :func:`save_safetensors` adds, a checkpoint of mmengine."""
    try:
        from safetensors import safe_open  # type: ignore[import-not-found]
    except ImportError as error:
        raise CheckpointError(
            f'checkpoint {path} needs a package to be read: pip install safetensors'
        ) from error
    with safe_open(path, framework='pt') as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        metadata = file.metadata() or {}
    return (
        dict(state_dict=state, meta=json.loads(metadata[META_KEY]))
        if META_KEY in metadata
        else state
    )


def save_safetensors(checkpoint: dict[str, Any], file: IO[bytes]) -> None:
    """Write the tensors and the meta data of a checkpoint in the format of safetensors, which cannot contain code.

    Args:
        checkpoint: ``{'state_dict': tensors, 'meta': ...}``, or ``{'model': tensors}`` of the original.

    Raises:
        CheckpointError: The package safetensors is missing.
    """
    try:
        from safetensors.torch import save  # type: ignore[import-not-found]
    except ImportError as error:
        raise CheckpointError(
            'writing .safetensors needs a package: pip install safetensors'
        ) from error
    state = checkpoint.get('state_dict', checkpoint.get('model', {}))
    metadata = {META_KEY: json.dumps(checkpoint['meta'])} if 'meta' in checkpoint else None
    # Copies, because the format refuses tensors that share memory.
    file.write(save({name: value.clone().contiguous() for name, value in state.items()}, metadata))


class _PlainUnpickler(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, strings and numpy arrays of numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        path = f'{module}.{name}'
        if path not in PLAIN:
            raise RefusedError(path)
        return PLAIN[path]


def _tensors(value: Any) -> Any:
    """Turn the arrays in nested dictionaries into tensors."""
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def _describe_refused(message: str) -> str:
    """Return what torch refused. The rest of its message advises to load the file unsafely."""
    if name := re.search(r'(?:GLOBAL|Unsupported class) ([\w.]+)', message):
        return name.group(1)
    before_advice, _, _ = message.partition('Check the documentation')
    last_line = before_advice.strip().splitlines()[-1]
    reason = last_line.split('WeightsUnpickler error: ')[-1]
    if 'Unsupported operand' in reason:
        return f'{reason}, an instruction that torch.save does not write with its default pickle_protocol=2'
    return reason


def _refusal(path: Path, refused: str) -> str:
    old = (
        ''
        if CAN_ALLOW
        else f' (torch {torch.__version__} can only check weights; training states need torch >= 2.4)'
    )
    return (
        f'checkpoint {path} was refused. Found in it: {refused}. Allowed are tensors, numbers, strings, containers, '
        f'numpy arrays of numbers, the logs of mmengine and options of argparse{old}; anything else could run code '
        'hidden in the file. Remedy: if you trust its origin, save only the weights where the file was made, '
        'torch.save(model.state_dict(), path), and load that file.'
    )
