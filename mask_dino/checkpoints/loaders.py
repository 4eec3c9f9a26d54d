"""How mmengine reads checkpoints: its loaders of paths, URLs and names are replaced by safe ones."""

from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlparse

import torch
from mmengine import fileio
from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_loaders

from .loading import CAN_ALLOW, MapLocation, load_checkpoint_safely, secure_checkpoint
from .safe_types import SAFE_GLOBALS


def register() -> None:
    """Take over ``load_from``, ``--resume``, testing and inference; doing so again changes nothing.

    Paths, URLs and ``s3://`` are read here. Names from a fixed source (``torchvision://``, ``open-mmlab://``,
    ``mmcls://``, ``pavi://``) are read by mmengine, and the configs in them are checked here.
    """
    if CAN_ALLOW:
        torch.serialization.add_safe_globals(SAFE_GLOBALS)
    for prefixes, loader in LOADERS.items():
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
    """Read a URL. The main process downloads it once, to the folder of torch and mmengine for such files.

    Raises:
        CheckpointError: The file is damaged or unsafe.
    """
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
