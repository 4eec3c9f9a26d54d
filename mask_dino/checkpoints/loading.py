"""Reading checkpoint files that nobody vouches for: weights and training state load, code does not run."""

import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine import fileio
from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_loaders

from ..messages import missing_file
from .config_text import UntrustedError, secure_configs
from .safe_types import MMENGINE, PLAIN, RefusedError

MapLocation = str | torch.device | Callable[..., Any] | None

ZIP_HEAD = b'PK\x03\x04'
# The magic number torch < 1.6 starts its files with, pickled.
LEGACY_HEAD = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
PICKLE_HEAD = b'\x80'
CAN_ALLOW = hasattr(torch.serialization, 'add_safe_globals')


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read or must not be: the message names the file, what was found and the remedy."""


def load_checkpoint_safely(
    path: str | Path, map_location: MapLocation = 'cpu', trusted_packages: Iterable[str] = ()
) -> dict:
    """Read a dictionary from a file of torch, a plain pickle of numpy arrays as Detectron2 writes them, or safetensors.

    The arrays of a plain pickle become tensors, on the CPU. Texts of configs in ``meta`` and ``message_hub`` are
    parsed, checked and replaced by texts of the same value.

    Args:
        trusted_packages: Packages that a config in the file may name, besides the frameworks and those of the
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
        raise CheckpointError(f'checkpoint {path} holds a {type(checkpoint).__name__}, not a dictionary of weights')
    return _secure(checkpoint, path, trusted_packages)


def _secure(checkpoint: dict, source: str | Path, trusted_packages: Iterable[str] = ()) -> dict:
    """Secure the configs inside a checkpoint, in place, and return it."""
    try:
        secure_configs(checkpoint, trusted_packages)
    except UntrustedError as error:
        raise CheckpointError(f'checkpoint {source} was refused: {error}') from error
    except RecursionError as error:
        raise CheckpointError(f'checkpoint {source} was refused: its meta data are nested too deeply') from error
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
        'something else, say a web page or a git-lfs pointer; download it again.'
    )


def _read_torch(path: Path, map_location: MapLocation) -> Any:
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if 'unexpected EOF' in str(error):  # so torch 2.4 speaks of a file that was cut short
            raise EOFError(_found(str(error))) from error
        raise RefusedError(_found(str(error))) from error
    except RuntimeError as error:
        if 'TorchScript' not in str(error):
            raise
        raise RefusedError('a TorchScript program') from error


def _read_safetensors(path: Path) -> dict:
    try:
        from safetensors.torch import load_file  # type: ignore[import-not-found]
    except ImportError as error:
        raise CheckpointError(f'checkpoint {path} needs a package to be read: pip install safetensors') from error
    return load_file(path)


class _PlainUnpickler(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, strings and numpy arrays of numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        for thing in PLAIN:
            if (module, name) == (thing.__module__, thing.__qualname__):
                return thing
        raise RefusedError(f'{module}.{name}')


def _tensors(value: Any) -> Any:
    """Turn the arrays in nested dictionaries into tensors."""
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def _found(message: str) -> str:
    """Return what torch refused, out of a message that mostly advises to load the file regardless."""
    if name := re.search(r'(?:GLOBAL|Unsupported class) ([\w.]+)', message):
        return name.group(1)
    reason = message.split('Check the documentation')[0].strip().splitlines()[-1].split('WeightsUnpickler error: ')[-1]
    if 'Unsupported operand' in reason:
        return f'{reason}, an instruction that torch.save does not write with its default pickle_protocol=2'
    return reason


def _refusal(path: Path, found: str) -> str:
    old = '' if CAN_ALLOW else f' (torch {torch.__version__} can check weights only: training states take torch >= 2.4)'
    return (
        f'checkpoint {path} was refused. Found in it: {found}. Allowed are tensors, numbers, strings, containers, '
        f'numpy arrays of numbers, the logs of mmengine and options of argparse{old}; anything else could run code '
        'hidden in the file. Remedy: if you trust its origin, save the weights alone where the file was made, '
        'torch.save(model.state_dict(), path), and load that file.'
    )


def register() -> None:
    """Take over ``load_from``, ``--resume``, testing and inference; doing so again changes nothing.

    Paths, URLs and ``s3://`` are read here. Names from a fixed source (``torchvision://``, ``open-mmlab://``,
    ``mmcls://``, ``pavi://``) are read by mmengine, and the configs in them are checked here.
    """
    if CAN_ALLOW:
        torch.serialization.add_safe_globals(list(MMENGINE))
    for prefixes, loader in LOADERS.items():
        CheckpointLoader.register_scheme(prefixes=prefixes, loader=loader, force=True)


# mmengine logs the loaders' names without their first ten letters.
def load_from_local(filename: str, map_location: MapLocation = None) -> dict:
    """Read a file on disk."""
    return load_checkpoint_safely(filename, map_location)


def load_from_ceph(filename: str, map_location: MapLocation = None) -> dict:
    """Read an object of a store that mmengine's ``petrel`` backend serves."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / Path(urlparse(filename).path).name
        path.write_bytes(fileio.get(filename, backend_args={'backend': 'petrel'}))
        return load_checkpoint_safely(path, map_location)


def load_from_torchvision(filename: str, map_location: MapLocation = None) -> dict:
    """Read weights of torchvision."""
    return _secure(mmengine_loaders.load_from_torchvision(filename, map_location), filename)


def load_from_openmmlab(filename: str, map_location: MapLocation = None) -> dict:
    """Read weights of OpenMMLab by their name."""
    return _secure(mmengine_loaders.load_from_openmmlab(filename, map_location), filename)


def load_from_mmcls(filename: str, map_location: MapLocation = None) -> dict:
    """Read weights of mmcls by their name."""
    return _secure(mmengine_loaders.load_from_mmcls(filename, map_location), filename)


def load_from_pavi(filename: str, map_location: MapLocation = None) -> dict:
    """Read weights of the model cloud of pavi."""
    return _secure(mmengine_loaders.load_from_pavi(filename, map_location), filename)


def load_from_http(filename: str, map_location: MapLocation = None) -> dict:
    """Read a URL, downloaded once by the main process to where torch and mmengine keep such files."""
    cached = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(filename).path).name
    if is_main_process():
        _download(filename, cached)
    barrier()
    _download(filename, cached)  # other machines may not share the disk
    return load_checkpoint_safely(cached, map_location)


def _download(url: str, path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path))


LOADERS = {
    '': load_from_local,
    ('http://', 'https://'): load_from_http,
    (r'(\S+\:)?s3://', r'(\S+\:)?petrel://'): load_from_ceph,
    ('modelzoo://', 'torchvision://'): load_from_torchvision,
    ('open-mmlab://', 'openmmlab://'): load_from_openmmlab,
    'mmcls://': load_from_mmcls,
    'pavi://': load_from_pavi,
}
"""The loader of every scheme that mmengine knows."""
