"""How mmengine comes by checkpoints: files on disk and at a URL are read safely."""

from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader

from .allowed import MMENGINE
from .loading import CAN_ALLOW, MapLocation, load_checkpoint_safely


def register() -> None:
    """Take over ``load_from``, ``--resume``, testing and inference for paths and URLs; doing so again changes nothing.

    Names from a fixed source (``torchvision://``, ``open-mmlab://``) keep mmengine's loaders.
    """
    if CAN_ALLOW:
        torch.serialization.add_safe_globals(list(MMENGINE))
    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
    CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), loader=load_from_http, force=True)


# mmengine logs the loaders' names without their first ten letters.
def load_from_local(filename: str, map_location: MapLocation = None) -> dict:
    """Read a file on disk."""
    return load_checkpoint_safely(filename, map_location)


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
