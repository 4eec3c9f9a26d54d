"""Changes to third-party packages that importing Mask DINO makes. Each is one function, called by the two shells.

- :func:`register_config_prefix`, called by ``mask_dino.det``, ``mask_dino.seg`` and the command line

  - what: adds ``mask_dino`` to mmengine's ``MODULE2PACKAGE`` and replaces its private ``Config._get_cfg_path``.
  - why: a config can then start from one of ours, ``_base_ = 'mask_dino::maskdino/NAME.py'``, also in a clone. The
    entry in ``MODULE2PACKAGE`` is not enough: mmengine would need an installed wheel, and would look up all parts of
    the base in a scope ``mask_dino``. One scope cannot be the child of both MMDetection and MMSegmentation.
  - needed by: mmengine 0.10.7, the last release. Where a later one has no ``_get_cfg_path``, nothing is replaced.
  - can go: when mmengine finds the configs of any package and leaves them the scope of the config that names them.

- :func:`complete_inferencer`, called by ``mask_dino.det``

  - what: sets ``VOID`` and ``id2rgb`` in ``mmdet.apis.det_inferencer`` where panopticapi is not installed.
  - why: ``DetInferencer`` refuses panoptic results without panopticapi, which is not on PyPI.
  - needed by: mmdet 3.3.0, the last release.
  - can go: when mmdet has both without panopticapi.

- :func:`mask_dino.checkpoints.register`, called by ``mask_dino.checkpoints``, which both shells import

  - what: registers loaders for paths and URLs with mmengine's ``CheckpointLoader``, and adds the types of mmengine's
    training states to the allow-list of ``torch.load``. Both are public interfaces, but act on the whole process.
  - why: mmengine leaves it to torch whether a file may run code, and torch before 2.6 allows that. Later versions
    refuse mmengine's own training states and the pickles of Detectron2.
  - needed by: mmengine 0.10.7. torch has the allow-list since 2.4.
  - can go: when mmengine sets ``weights_only`` and allows its own types, or, for the loaders, with torch 2.6 as the
    oldest supported version and without the pickles of Detectron2.

``tests/test_compat.py`` fails when one of them can go.
"""

from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

NAME = 'mask_dino'
PREFIX = f'{NAME}::'


def register_config_prefix() -> None:
    """Teach mmengine the prefix ``mask_dino::`` in names of configs; a second call changes nothing."""
    if NAME in MODULE2PACKAGE:
        return
    MODULE2PACKAGE[NAME] = NAME
    if not hasattr(Config, '_get_cfg_path'):
        return
    get_path_of_others = Config._get_cfg_path

    def get_path_and_scope(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return resolve_config(cfg_path), None
        path_and_scope: tuple[str, str | None] = get_path_of_others(cfg_path, filename)
        return path_and_scope

    Config._get_cfg_path = staticmethod(get_path_and_scope)


def complete_inferencer() -> None:
    """Supply ``VOID``, the id of pixels without segment, and ``id2rgb`` where panopticapi is not installed."""
    from mmdet.apis import det_inferencer

    from .datasets.panoptic_png import id2rgb

    if getattr(det_inferencer, 'VOID', 0) is None:
        det_inferencer.VOID = 0
        det_inferencer.id2rgb = id2rgb


def resolve_config(name: str) -> str:
    """Return the path of a config that is named with the prefix ``mask_dino::``, and any other path as it is.

    Raises:
        FileNotFoundError: There is no config of this name.
    """
    if not name.startswith(PREFIX):
        return name
    relative = name.removeprefix(PREFIX).removesuffix('.py')
    folder = find_root() / 'configs'
    path = folder / f'{relative}.py'
    if not path.is_file():
        raise FileNotFoundError(f'{name}: there is no {path}; for the names, list {folder}')
    return str(path)


def find_root() -> Path:
    """Return the folder of ``configs`` and ``tools``: ``.mim`` in an installed package, or the clone."""
    package = Path(__file__).resolve().parent
    installed = package / '.mim'
    return installed if installed.is_dir() else package.parent
