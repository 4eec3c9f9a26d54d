"""Converting files: an original checkpoint in, a checkpoint for a config of this project out."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import Tensor, nn

from .. import __version__
from .loading import CheckpointError, load_checkpoint_safely


def read_original(path: Path) -> dict[str, Tensor]:
    """Read the tensors of an original checkpoint, ``{'model': tensors}`` or the tensors alone, as float32.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, unsafe, or holds something else.
    """
    checkpoint = load_checkpoint_safely(path)
    if 'state_dict' in checkpoint:
        raise CheckpointError(f'{path} is a checkpoint of OpenMMLab, with a state_dict: it needs no conversion')
    state = checkpoint.get('model', checkpoint)
    strange = ['no dictionary'] if not isinstance(state, dict) else [n for n, v in state.items() if not _is_array(v)]
    if strange or not state:
        raise CheckpointError(
            f"{path} holds no weights of the original implementation, which are {{'model': tensors}} or tensors alone; "
            f'there are no tensors under: {", ".join(map(str, strange)) or "any name"}'
        )
    return {name: _float32(value) for name, value in state.items()}


def read_ours(path: Path, trusted_packages: Iterable[str] = ()) -> dict[str, Any]:
    """Read a checkpoint of OpenMMLab, ``{'state_dict': tensors, ...}``.

    Args:
        trusted_packages: Packages that the config in the file may name, besides the frameworks.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, unsafe, or holds something else.
    """
    checkpoint = load_checkpoint_safely(path, trusted_packages=trusted_packages)
    if 'state_dict' not in checkpoint:
        raise CheckpointError(f'{path} is no checkpoint of OpenMMLab: it has no state_dict')
    return checkpoint


def read_detector(path: Path, trusted_packages: Iterable[str] = ()) -> dict[str, Tensor]:
    """Read the tensors of a detector, of mmdet or of the original, as float32.

    Args:
        trusted_packages: Packages that the config in the file may name, besides the frameworks.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged or unsafe.
    """
    checkpoint = load_checkpoint_safely(path, trusted_packages=trusted_packages)
    state = checkpoint.get('state_dict') or checkpoint.get('ema_model') or checkpoint.get('model') or checkpoint
    tensors = {name.removeprefix('module.'): value for name, value in state.items() if _is_array(value)}
    return {name: _float32(value) for name, value in tensors.items()}


def configured(checkpoint: dict[str, Any], path: Path) -> Config:
    """Return the config in a checkpoint.

    Raises:
        CheckpointError: There is none.
    """
    text = checkpoint.get('meta', {}).get('cfg')
    if not text:
        raise CheckpointError(f'{path} does not hold its config; give it with --config')
    return Config.fromstring(text, file_format='.py')


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the argument of the converters that adds packages."""
    parser.add_argument(
        '--trust-package',
        action='append',
        default=[],
        metavar='PACKAGE',
        help='package that the config in SRC may name besides the frameworks; can be given several times',
    )


def check_paths(source: Path, destination: Path) -> None:
    """Find what cannot be written out before the work begins."""
    if destination.is_dir():
        raise CheckpointError(f'DST {destination} is a folder; give the name of a file')
    if source.exists() and destination.exists() and destination.samefile(source):
        raise CheckpointError(f'SRC and DST are the same file, {source}')


def build_model(config: Config) -> nn.Module:
    """Build the model of a config with random weights: nothing is downloaded."""
    _require(config, 'model')
    init_default_scope(config.get('default_scope', 'mmengine'))
    model: nn.Module = MODELS.build(config.model)
    return model


def checkpoint_for(config: Config, state: dict[str, Tensor], source: Path) -> dict[str, Any]:
    """Return a checkpoint that says by itself what mmdet's and mmseg's inference ask of it.

    Args:
        state: Weights of the config's model.
        source: The file they come from.
    """
    _require(config, 'test_dataloader')  # its data set names the classes
    init_default_scope(config.get('default_scope', 'mmengine'))
    known = DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True)).metainfo
    meta = dict(
        dataset_meta={name: known[name] for name in ('classes', 'palette') if name in known},
        cfg=config.pretty_text,
        converted_from=source.name,
        mask_dino_version=__version__,
        mmengine_version=mmengine.__version__,
    )
    return dict(meta=meta, state_dict=state)


def write(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whole or not at all, its folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with part.open('wb') as file:
            torch.save(checkpoint, file)
        part.replace(path)
    except RuntimeError as error:  # torch's word for a disk that is full
        raise OSError(f'{path} could not be written, the disk may be full: {error}') from error
    finally:
        part.unlink(missing_ok=True)


def _require(config: Config, name: str) -> None:
    if name not in config:
        raise CheckpointError(f'the config {config.filename} has no {name}; give the whole config of a model')


def _is_array(value: object) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


def _float32(value: Tensor | np.ndarray) -> Tensor:
    tensor = torch.tensor(value) if isinstance(value, np.ndarray) else value
    return tensor.float() if tensor.is_floating_point() else tensor
