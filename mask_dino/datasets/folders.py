"""Folders of images that are listed when a data set of label maps is built, looked at before."""

import os
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import Any

from mmdet.registry import DATASETS
from mmengine.registry import Registry

from .images import is_local


def folder_problems(config: Mapping, loaders: Iterable[str]) -> list[str]:
    """Say of each data loader why its data set will find no image, which mmseg's do not put into words.

    Args:
        loaders: Their names, of which those in the config are looked at.
    """
    found = [(loader, part) for loader in loaders for part in leaves((config.get(loader) or {}).get('dataset'))]
    with DATASETS.switch_scope_and_registry(config.get('default_scope')) as registry:
        return [f'{loader}: {problem}' for loader, part in found if (problem := folder_problem(part, registry))]


def leaves(dataset: Any) -> Iterator[Mapping]:
    """Yield the configs of the data sets inside wrappers."""
    if not isinstance(dataset, Mapping):
        return
    inner = dataset.get('datasets') or [dataset.get('dataset')]
    if inner == [None]:
        yield dataset
    for part in inner:
        yield from leaves(part)


def folder_problem(dataset: Mapping, registry: Registry) -> str | None:
    """Say why the data set of a config finds no image; nothing is said of those that read the names from a file."""
    suffix = dataset.get('img_suffix') or default_suffix(registry.get(dataset['type']))
    folder = os.path.join(dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('img_path') or '')
    if suffix is None or dataset.get('ann_file') or not is_local(folder):
        return None
    if not os.path.isdir(folder):
        return f'{folder}: the folder of images does not exist. Correct data_root or data_prefix of the dataset'
    names = [name for _, _, files in os.walk(folder) for name in files]
    if any(name.endswith(suffix) for name in names):
        return None
    others = sorted({os.path.splitext(name)[1] for name in names})
    remedy = f'names end in {", ".join(others)}: set img_suffix of the dataset' if others else 'it is empty'
    return f'{folder} has no image whose name ends in {suffix}; {remedy}'


def default_suffix(kind: Any) -> str | None:
    """Return with what the names of images end that a type of data set lists; None if it lists none."""
    parameters = (signature(parent.__init__).parameters for parent in getattr(kind, '__mro__', ()))
    defaults = (found['img_suffix'].default for found in parameters if 'img_suffix' in found)
    return next(defaults, None)
