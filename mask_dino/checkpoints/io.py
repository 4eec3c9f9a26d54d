"""Files of the converters: reading, writing, and a check that the written file works."""

import argparse
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
from ..files import writing_whole
from .loading import CheckpointError, load_checkpoint_safely, save_safetensors


def read_original(path: Path) -> dict[str, Tensor]:
    """Read the tensors of an original checkpoint, ``{'model': tensors}`` or only the tensors, as float32.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, unsafe, or holds something else.
    """
    checkpoint = load_checkpoint_safely(path)
    if 'state_dict' in checkpoint:
        raise CheckpointError(
            f'{path} is a checkpoint of OpenMMLab, with a state_dict: it needs no conversion'
        )
    state = checkpoint.get('model', checkpoint)
    names = list(state) if isinstance(state, dict) else []
    others = [str(name) for name in names if not isinstance(state[name], (Tensor, np.ndarray))]
    if others or not names:
        problem = f'other entries are {", ".join(others)}' if others else 'there are no entries'
        raise CheckpointError(
            f"{path} holds no weights of the original implementation, which are {{'model': tensors}} or tensors only: "
            f'{problem}. Give the checkpoint that the original wrote or published'
        )
    return {name: _to_float32(value) for name, value in state.items()}


def read_openmmlab(path: Path, trusted_packages: Iterable[str] = ()) -> dict[str, Any]:
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
    keys = ('state_dict', 'ema_model', 'model')
    entries = [checkpoint[key] for key in keys if checkpoint.get(key)]
    state = entries[0] if entries else checkpoint
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if isinstance(value, (Tensor, np.ndarray)):
            own_name = name.removeprefix('module.')
            tensors[own_name] = _to_float32(value)
    return tensors


def read_stored_config(checkpoint: dict[str, Any], path: Path) -> Config:
    """Return the config in a checkpoint.

    Raises:
        CheckpointError: There is none.
    """
    config = checkpoint.get('meta', {}).get('cfg')
    if not config:
        raise CheckpointError(f'{path} does not hold its config; give it with --config')
    return (
        Config(config) if isinstance(config, dict) else Config.fromstring(config, file_format='.py')
    )


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the argument of the converters that adds packages."""
    parser.add_argument(
        '--trust-package',
        action='append',
        default=[],
        metavar='PACKAGE',
        help='package that the config in SRC may name besides the frameworks; can be given several '
        'times (default: none)',
    )


def check_paths(source: Path, destination: Path) -> None:
    """Refuse a destination that cannot be written, before the work begins.

    Raises:
        CheckpointError: The destination is a folder or the source.
    """
    if destination.is_dir():
        raise CheckpointError(f'DST {destination} is a folder; give the name of a file')
    both_exist = source.exists() and destination.exists()
    if both_exist and destination.samefile(source):
        raise CheckpointError(f'SRC and DST are the same file, {source}')


def build_model(config: Config) -> nn.Module:
    """Build the model of a config with random weights: nothing is downloaded.

    Raises:
        CheckpointError: The config has no model.
    """
    _require(config, 'model')
    init_default_scope(config.get('default_scope', 'mmengine'))
    model: nn.Module = MODELS.build(config.model)
    return model


def make_checkpoint(config: Config, state: dict[str, Tensor], source: Path) -> dict[str, Any]:
    """Return a checkpoint with all that the inference of mmdet and mmseg needs: weights, config and classes.

    Args:
        state: Weights of the config's model.
        source: The file they come from.
    """
    _require(config, 'test_dataloader')  # its data set names the classes
    init_default_scope(config.get('default_scope', 'mmengine'))
    metainfo = DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True)).metainfo
    meta = dict(
        dataset_meta={name: metainfo[name] for name in ('classes', 'palette') if name in metainfo},
        cfg=config.pretty_text,
        converted_from=source.name,
        mask_dino_version=__version__,
        mmengine_version=mmengine.__version__,
    )
    return dict(meta=meta, state_dict=state)


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whole or not at all, its folder included; with the suffix ``.safetensors`` in that format.

    Raises:
        OSError: The file could not be written.
        CheckpointError: The package safetensors is missing.
    """
    save = save_safetensors if path.suffix == '.safetensors' else torch.save
    try:
        with writing_whole(path) as part, part.open('wb') as file:
            save(checkpoint, file)
    except RuntimeError as error:  # torch raises this if the disk is full
        if isinstance(error, CheckpointError):
            raise
        raise OSError(f'{path} could not be written, the disk may be full: {error}') from error


SIZE = (128, 160)  # height and width of the image of noise
SEED = 0


def compute_fingerprint(path: Path) -> str:
    """Load a checkpoint strictly into the model of its own config, and describe the predictions of the model.

    Equal weights give equal fingerprints, up to rounding.

    Raises:
        CheckpointError: The file lacks its config, its tensors do not fit, or the predictions are not finite.
        FileNotFoundError: There is no such file.
    """
    checkpoint = read_openmmlab(path)
    model = build_model(read_stored_config(checkpoint, path))
    try:
        model.load_state_dict(checkpoint['state_dict'], strict=True)
    except RuntimeError as error:
        raise CheckpointError(f'{path} does not fit its config: {error}') from error
    return describe_predictions(model, path)


@torch.no_grad()
def describe_predictions(model: nn.Module, path: Path) -> str:
    """Return the mean magnitude of what a model predicts for a seeded image of noise.

    Raises:
        CheckpointError: A prediction is not finite.
    """
    generator = torch.Generator().manual_seed(SEED)
    image = torch.randn(1, 3, *SIZE, generator=generator)
    predictions = model.eval()(image, None, mode='tensor')
    described: list[str] = []
    for name, values in zip(predictions._fields, predictions, strict=True):
        if not values.isfinite().all():
            raise CheckpointError(f'{path} predicts {name} that are not finite')
        described.append(f'{name} {tuple(values.shape)} {values.abs().mean():.4f}')
    return ', '.join(described)


def _require(config: Config, name: str) -> None:
    if name not in config:
        raise CheckpointError(
            f'the config {config.filename} has no {name}; give the complete config of a model'
        )


def _to_float32(value: Tensor | np.ndarray) -> Tensor:
    tensor = torch.tensor(value) if isinstance(value, np.ndarray) else value
    return tensor.float() if tensor.is_floating_point() else tensor
