"""How mmengine reads checkpoints: its loaders of paths, URLs and names are replaced by safe ones."""

import hashlib
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from mmengine import fileio
from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_loaders

from .loading import (
    CAN_ALLOW,
    CheckpointError,
    MapLocation,
    load_checkpoint_safely,
    secure_checkpoint,
)
from .safe_types import SAFE_GLOBALS


def register_loaders() -> None:
    """Take over ``load_from``, ``--resume``, testing and inference; doing so again changes nothing.

    Paths, URLs and ``s3://`` are read here. Names from a fixed source (``torchvision://``, ``open-mmlab://``,
    ``mmcls://``, ``pavi://``) are read by mmengine, and the configs in them are checked here.
    """
    if CAN_ALLOW:
        torch.serialization.add_safe_globals(SAFE_GLOBALS)
    for prefixes, loader in LOADERS_OF_SCHEMES.items():
        CheckpointLoader.register_scheme(prefixes=prefixes, loader=loader, force=True)


# mmengine logs the names of loaders without their first ten letters, which is why they start with "load_from_".
def load_from_local(filename: str, map_location: MapLocation = None) -> dict:
    """Read a file on disk.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged or unsafe.
    """
    return load_checkpoint_safely(filename, map_location)


def load_from_ceph(filename: str, map_location: MapLocation = None) -> dict:
    """Read an object of a store that mmengine's ``petrel`` backend serves.

    Raises:
        CheckpointError: The file is damaged or unsafe.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / Path(urlparse(filename).path).name
        path.write_bytes(fileio.get(filename, backend_args={'backend': 'petrel'}))
        return load_checkpoint_safely(path, map_location)


def load_from_torchvision(filename: str, map_location: MapLocation = None) -> dict:
    """Read weights of torchvision.

    Raises:
        CheckpointError: The file is damaged or unsafe.
    """
    return secure_checkpoint(
        mmengine_loaders.load_from_torchvision(filename, map_location), filename
    )


def load_from_openmmlab(filename: str, map_location: MapLocation = None) -> dict:
    """Read weights of OpenMMLab by their name.

    Raises:
        CheckpointError: The file is damaged or unsafe.
    """
    return secure_checkpoint(mmengine_loaders.load_from_openmmlab(filename, map_location), filename)


def load_from_mmcls(filename: str, map_location: MapLocation = None) -> dict:
    """Read weights of mmcls by their name.

    Raises:
        CheckpointError: The file is damaged or unsafe.
    """
    return secure_checkpoint(mmengine_loaders.load_from_mmcls(filename, map_location), filename)


def load_from_pavi(filename: str, map_location: MapLocation = None) -> dict:
    """Read weights of the model cloud of pavi.

    Raises:
        CheckpointError: The file is damaged or unsafe.
    """
    return secure_checkpoint(mmengine_loaders.load_from_pavi(filename, map_location), filename)


def load_from_http(filename: str, map_location: MapLocation = None) -> dict:
    """Read a URL, downloaded once by the main process to where torch and mmengine keep such files.

    Raises:
        CheckpointError: The file cannot be downloaded, is damaged or unsafe.
    """
    cached = choose_cache_path(filename)
    if is_main_process():
        _download(filename, cached)
    barrier()
    _download(filename, cached)  # other machines may not share the disk
    return load_checkpoint_safely(cached, map_location)


def choose_cache_path(url: str) -> Path:
    """Return where the file of a URL is kept: under its own name, unless the file of another URL has this name.

    A note beside each file says from where it came. Files without a note, which torch itself has downloaded, are taken
    by their name.
    """
    name = Path(urlparse(url).path).name or 'checkpoint.pth'
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    note = _note(path)
    if path.exists() and note.exists() and note.read_text() != url:
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        return path.with_name(f'{path.stem}-{digest}{path.suffix}')
    return path


def _note(path: Path) -> Path:
    return path.with_name(f'{path.name}.url')


def _download(url: str, path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path))
    except (URLError, ConnectionError, TimeoutError, HTTPException) as error:
        raise CheckpointError(
            f'checkpoint {url} cannot be downloaded: {error}. Check the address and the connection, or download the '
            'file by other means and give its path'
        ) from error
    _note(path).write_text(url)


LOADERS_OF_SCHEMES = {
    '': load_from_local,
    ('http://', 'https://'): load_from_http,
    (r'(\S+\:)?s3://', r'(\S+\:)?petrel://'): load_from_ceph,
    ('modelzoo://', 'torchvision://'): load_from_torchvision,
    ('open-mmlab://', 'openmmlab://'): load_from_openmmlab,
    'mmcls://': load_from_mmcls,
    'pavi://': load_from_pavi,
}
"""The loader of every scheme that mmengine knows."""
