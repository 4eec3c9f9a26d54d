"""Every patch of a third-party package.

The prefix ``mask_dino::`` in names of configs: mmengine knows it only for the packages of OpenMMLab. Importing this
module makes mmengine understand it: ``_base_ = 'mask_dino::maskdino/NAME.py'``, and
``mmengine.hub.get_config`` where a wheel is installed.
"""

from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

NAME = 'mask_dino'
PREFIX = f'{NAME}::'


def root() -> Path:
    """Return the folder of ``configs`` and ``tools``: ``.mim`` in an installed package, or the clone."""
    package = Path(__file__).resolve().parent
    installed = package / '.mim'
    return installed if installed.is_dir() else package.parent


def config_path(name: str) -> Path:
    """Return the file of a config named below ``configs``, with or without ``.py``.

    Raises:
        FileNotFoundError: There is none.
    """
    path = root() / 'configs' / f'{name.removesuffix(".py")}.py'
    if not path.is_file():
        raise FileNotFoundError(f'{PREFIX}{name}: there is no {path}; for the names, list {root() / "configs"}')
    return path


def resolve(config: str) -> str:
    """Return the path of a config that is named with the prefix, and any other path as it is."""
    return str(config_path(config.removeprefix(PREFIX))) if config.startswith(PREFIX) else config


def register_config_prefix() -> None:
    """Teach mmengine the prefix; doing so again changes nothing."""
    if NAME not in MODULE2PACKAGE:
        MODULE2PACKAGE[NAME] = NAME
        others = Config._get_cfg_path

        def path_and_scope(cfg_path: str, filename: str) -> tuple[str, str | None]:
            # mmengine's own answer has the package as the scope of everything in the base. Here it is that of the
            # config, MMDetection's or MMSegmentation's, with which all parts are registered.
            if cfg_path.startswith(PREFIX):
                return resolve(cfg_path), None
            found: tuple[str, str | None] = others(cfg_path, filename)
            return found

        Config._get_cfg_path = staticmethod(path_and_scope)


def complete_inferencer() -> None:
    """Supply ``VOID``, the id of pixels without segment, and ``id2rgb`` where panopticapi is not installed."""
    from mmdet.apis import det_inferencer

    from .datasets.panoptic_png import id2rgb

    if getattr(det_inferencer, 'VOID', 0) is None:
        det_inferencer.VOID, det_inferencer.id2rgb = 0, id2rgb


register_config_prefix()
