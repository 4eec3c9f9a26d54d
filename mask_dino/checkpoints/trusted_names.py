"""Which classes, modules and files a config inside a checkpoint may name.

mmengine builds ``dict(type='os.system', ...)`` by importing and calling what the dotted name leads to, and some
settings of the frameworks are evaluated as Python or read as pickles. A config that a user writes may do all of that.
A config that comes with a checkpoint may only name what the frameworks registered for configs.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from mmengine import registry as registries
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

OPENMMLAB_PACKAGES = (
    'mask_dino',
    'mmaction',
    'mmagic',
    'mmcls',
    'mmcv',
    'mmdet',
    'mmdet3d',
    'mmengine',
    'mmocr',
    'mmpose',
    'mmpretrain',
    'mmrazor',
    'mmrotate',
    'mmseg',
    'mmselfsup',
    'mmtrack',
    'mmyolo',
)
TORCH = ('torch.nn', 'torch.optim')
VARIABLE = 'MASK_DINO_TRUSTED_PACKAGES'
"""Environment variable with further packages, separated by commas."""

TYPE_KEYS = ('type', 'collate_fn', 'constructor', 'runner_type', 'worker_init_fn')
"""Settings whose strings mmengine looks up and, if they have dots, imports."""
OTHER_TYPE_KEYS = re.compile(r'\w+_(type|cls|class|fn|func)')
SCOPE_KEYS = ('_scope_', 'default_scope', 'scope')
"""Settings that name a package; mmengine imports its module ``registry``."""
NOT_BUILT = ('RUNNERS', 'RUNNER_CONSTRUCTORS', 'INFERENCERS')
"""Registries of classes that read configs themselves; a config does not contain them."""
RESTRICTED = {
    'warp_mode': r'cv2\.MOTION_[A-Z]+',  # evaluated by mmdet's CameraMotionCompensation
    'search_op': r'Conv\dd',  # evaluated by mmcv's RFSearchHook
    'model_name': r'[^:]*',  # timm downloads from any repository if it starts with hf_hub: or local-dir:
}
"""Settings whose strings can lead to code, and the pattern of those that do not."""
FORBIDDEN = {
    '_base_': 'makes mmengine read another config',
    'checkpoint_path': 'makes timm read a pickle',
    'pretrained_cfg': 'makes timm read a pickle',
    'pretrained_cfg_overlay': 'makes timm read a pickle',
    'sys_path': 'adds a folder of code',
    'teacher_config': 'makes mmdet read another config',
    'trust_remote_code': 'makes transformers run code from a repository',
}
CODE_FILES = re.compile(r'.*\.(pickle|pkl|py|yaml|yml)', re.IGNORECASE | re.DOTALL)
"""Files that run code when the frameworks read them."""
BUILT = re.compile(r'(tta_)?model|\w*visualizer|vis_backends|.*pipeline.*')
"""Settings that inferencers build objects from; the others are only read in training and testing with a config file."""


class UntrustedError(ValueError):
    """A config inside a checkpoint could run code; the message is the predicate of a sentence about the config."""


def read_trusted_packages() -> tuple[str, ...]:
    """Return the packages that the environment variable adds."""
    names = os.environ.get(VARIABLE, '').split(',')
    return tuple(name.strip() for name in names if name.strip())


def check_settings(settings: Any, trusted_packages: Iterable[str] = ()) -> None:
    """Refuse settings that lead to code outside the frameworks, torch's layers and optimizers, and trusted packages.

    Args:
        trusted_packages: Packages that settings may name, besides the packages of the environment variable.

    Raises:
        UntrustedError: The message names the setting, the package and the remedy.
    """
    _check_part(settings, (*read_trusted_packages(), *trusted_packages), '')


def _check_part(settings: Any, trusted: tuple[str, ...], place: str) -> None:
    """Check a part of a config; ``place`` is where it is, with dots."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            inside = f'{place}.{key}' if place else str(key)
            _check_setting(str(key), value, trusted, inside)
            _check_part(value, trusted, inside)
    elif isinstance(settings, (list, tuple, set)):
        for index, value in enumerate(settings):
            _check_part(value, trusted, f'{place}[{index}]')
    elif callable(settings):
        raise UntrustedError(f'has an object that can be called at {place}: {settings!r}')
    elif isinstance(settings, str):
        _check_file(settings, place)


def _check_setting(key: str, value: Any, trusted: tuple[str, ...], place: str) -> None:
    """Refuse one setting whose name gives its string a meaning."""
    if key in FORBIDDEN and value:
        raise UntrustedError(f'sets {place}={value!r}, which {FORBIDDEN[key]}')
    if key == 'custom_imports':
        _check_imports(value, trusted, place)
    if not isinstance(value, str):
        return
    if key in RESTRICTED and not re.fullmatch(RESTRICTED[key], value):
        raise UntrustedError(
            f'sets {place}={value!r}, which would be evaluated as Python or lead to files with code'
        )
    if key in SCOPE_KEYS and not _is_scope(value, trusted):
        raise _refuse(value, trusted, place)
    if key in TYPE_KEYS and not _is_type(value, trusted):
        raise _refuse(value, trusted, place)
    is_path = OTHER_TYPE_KEYS.fullmatch(key) and re.fullmatch(r'\w+(\.\w+)+', value)
    if is_path and not _is_type(value, trusted):
        raise _refuse(value, trusted, place)


def _check_imports(imports: Any, trusted: tuple[str, ...], place: str) -> None:
    """Refuse ``custom_imports`` of other packages, unless their modules are imported already."""
    names = imports.get('imports', []) if isinstance(imports, dict) else imports
    listed = [names] if isinstance(names, str) else names or []
    allowed = (*OPENMMLAB_PACKAGES, *trusted)
    for name in listed:
        if not isinstance(name, str):
            raise UntrustedError(f'has {name!r} in {place}, which is not the name of a module')
        is_known = _is_within(name, allowed) or _is_in_use(name)
        if not is_known:
            raise _refuse(name, trusted, place)


def _check_file(value: str, place: str) -> None:
    is_used = '://' in value or any(
        BUILT.fullmatch(setting) for setting in re.split(r'[.\[]', place)
    )
    if is_used and CODE_FILES.fullmatch(value.partition('?')[0]):
        raise UntrustedError(
            f'sets {place}={value!r}, a kind of file that can run code when it is read'
        )


def _refuse(name: str, trusted: tuple[str, ...], place: str) -> UntrustedError:
    package = name.partition('.')[0]
    packages = ', '.join((*OPENMMLAB_PACKAGES, *TORCH, *trusted))
    if _is_within(name, (*OPENMMLAB_PACKAGES, *TORCH)):
        reason = f'which {package} does not register for configs'
    else:
        reason = f'which is outside the packages that a checkpoint may name ({packages})'
    return UntrustedError(
        f'names {name!r} in {place}, {reason}. If you trust the file and the package {package!r}, set the environment '
        f'variable {VARIABLE}={",".join((*read_trusted_packages(), package))}, or pass trusted_packages=({package!r},) '
        f'to mask_dino.checkpoints.load_checkpoint_safely; the converters take --trust-package {package}'
    )


def _is_type(name: str, trusted: tuple[str, ...]) -> bool:
    """Tell whether mmengine may look a name up: a registered name, or the dotted path of a registered class."""
    if not re.fullmatch(r'[\w./+-]+', name):
        return False
    if _is_within(name, trusted):
        return True
    parts = name.split('.')
    if len(parts) == 1:
        return not _is_importable(name)
    if any(part.startswith('_') for part in parts):
        return False
    if _is_within(name, OPENMMLAB_PACKAGES):
        return _is_registered_or_unknown(name)
    if _is_within(name, TORCH):
        kind = get_object_from_string(name)
        return isinstance(kind, type) and issubclass(kind, (nn.Module, Optimizer, LRScheduler))
    return any(_find_imported(name) is known for known in _registered_objects())


def _is_registered_or_unknown(name: str) -> bool:
    """Tell whether a path into a framework leads to a registered class, or is a scope and a registered name."""
    try:
        kind = get_object_from_string(name)
    except Exception:  # mmengine also gives up on the name
        return True
    return kind is None or any(kind is known for known in _registered_objects())


def _is_scope(name: str, trusted: tuple[str, ...]) -> bool:
    return (
        _is_within(name, (*OPENMMLAB_PACKAGES, *trusted))
        or name in _scopes()
        or not _is_importable(name.partition('.')[0])
    )


def _is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f'{package}.') for package in packages)


def _is_importable(name: str) -> bool:
    """Tell whether looking up a name that is not registered would import a module and so run its code."""
    if name in sys.modules or any(name in registry.module_dict for registry in _registries()):
        return False
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _is_in_use(module: str) -> bool:
    """Tell whether a module is imported already and its package registers classes, as the user's own config does."""
    packages = {known.__module__.partition('.')[0] for known in _registered_objects()}
    return module in sys.modules and module.partition('.')[0] in packages


def _find_imported(name: str) -> Any:
    """Return what a dotted path leads to in modules that are imported already; None if there is nothing."""
    module, _, attribute = name.rpartition('.')
    return getattr(sys.modules.get(module), attribute, None)


def _registries() -> Iterator[Registry]:
    """Return mmengine's registries, except those that configs do not use, and the registries below them."""
    waiting = [value for name, value in vars(registries).items() if name not in NOT_BUILT]
    waiting = [value for value in waiting if isinstance(value, Registry)]
    while waiting:
        registry = waiting.pop()
        waiting.extend(registry.children.values())
        yield registry


def _registered_objects() -> list[Any]:
    return [known for registry in _registries() for known in registry.module_dict.values()]


def _scopes() -> set[str]:
    return {registry.scope for registry in _registries()}
