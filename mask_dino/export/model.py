"""The model to export: built from its config, with the weights of a checkpoint."""

from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor, nn

from ..checkpoints import CheckpointError, load_checkpoint_safely
from ..checkpoints.io import build_model
from ..checkpoints.maskdino import compare_tensors, read_shapes
from ..hooks.check_checkpoint import (
    describe_incomplete,
    describe_original,
    is_complete,
    is_original,
    rename_head,
)
from ..models import MaskDINOHead
from .packages import ExportError


class TrainedModel(NamedTuple):
    """A model in evaluation mode, and what its data set says of the classes."""

    model: nn.Module
    head: MaskDINOHead
    config: Config
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]  # RGB


def load_model(config: Config, checkpoint: str | Path) -> TrainedModel:
    """Build the model of a config, and fill it with all of its weights.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        CheckpointError: If it is damaged, or if any tensor of the model is missing in it or has another shape.
        ExportError: If the config is not a Mask DINO, or if the classes do not fit its head.
    """
    model, stored = load_weights(config, checkpoint)
    head = find_head(model, config)
    classes, palette = class_names(config, stored, head.num_classes)
    return TrainedModel(model.eval(), head, config, classes, palette)


def load_weights(config: Config, checkpoint: str | Path) -> tuple[nn.Module, dict]:
    """Build the model of a config and fill it with all of its weights; return it with the content of the checkpoint.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        CheckpointError: If it is damaged, or if any tensor of the model is missing in it, has another shape or is not
            finite.
    """
    stored = load_checkpoint_safely(checkpoint)
    state = stored.get('state_dict', stored)
    if is_original({**read_shapes(state), **read_shapes(stored.get('model') or {})}):
        raise CheckpointError(describe_original(str(checkpoint)))
    model = revert_sync_batchnorm(build_model(config))
    own = model.state_dict()
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    rename_head(state, own)
    comparison = compare_tensors(read_shapes(state), read_shapes(own))
    if not is_complete(comparison):
        raise CheckpointError(describe_incomplete(str(checkpoint), comparison, training=False))
    model.load_state_dict(state, strict=False)
    refuse_broken_weights(model.state_dict(), checkpoint)
    return model, stored


def refuse_broken_weights(state: dict[str, Tensor], path: str | Path) -> None:
    """Refuse weights with which every result is NaN.

    Raises:
        CheckpointError: If there are any.
    """
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise CheckpointError(
            f'checkpoint {path} has NaN or infinite values in {len(broken)} tensors, such as {broken[0]}: its training '
            'failed; take an earlier checkpoint'
        )


def find_head(model: nn.Module, config: Config) -> MaskDINOHead:
    """Return the Mask DINO head of a detector or a segmentor.

    Raises:
        ExportError: If there is none.
    """
    heads = [module for module in model.children() if isinstance(module, MaskDINOHead)]
    if len(heads) != 1:
        raise ExportError(
            f'the model of {config.filename} has no head of Mask DINO: give a config of configs/maskdino'
        )
    return heads[0]


def class_names(
    config: Config, checkpoint: dict, num_classes: int
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Return the names and the colours of the classes: from the checkpoint, else from the config's test data.

    Raises:
        ExportError: If there are not as many names as classes of the head.
    """
    meta = checkpoint.get('meta', {})
    known = dict(meta.get('dataset_meta') or {})
    if 'test_dataloader' in config:
        init_default_scope(config.get('default_scope', 'mmengine'))
        dataset = DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True))
        known = {**dataset.metainfo, **known}
    classes = tuple(known.get('classes') or ())
    if len(classes) != num_classes:
        raise ExportError(
            f'the head of {config.filename} has {num_classes} classes, but the checkpoint and the test data name '
            f'{len(classes)}: set metainfo=dict(classes=(...)) in test_dataloader.dataset'
        )
    palette = fill_palette(known.get('palette'), num_classes)
    return classes, palette


def fill_palette(palette: object, num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Return the RGB colour of each class; where the data set has none, hues that differ as much as they can."""
    if isinstance(palette, (list, tuple)) and len(palette) >= num_classes:
        return tuple(
            (int(red), int(green), int(blue)) for red, green, blue in palette[:num_classes]
        )
    return tuple(_hue(index * 0.618 % 1) for index in range(num_classes))


def _hue(hue: float) -> tuple[int, int, int]:
    red, green, blue = (abs((hue * 6 + shift) % 6 - 3) - 1 for shift in (0, 4, 2))
    return _byte(red), _byte(green), _byte(blue)


def _byte(value: float) -> int:
    return round(255 * min(max(value, 0), 1))
