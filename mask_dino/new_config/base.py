"""Chooses the config that a new config inherits from: the model of the checkpoint, made for the task."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from ..checkpoints.io import read_openmmlab, read_stored_config
from ..checkpoints.select_config import get_depths, get_head_settings, uses_mask_boxes
from ..compat import PREFIX, find_root
from ..messages import DataError, missing_file


class NetworkTraits(NamedTuple):
    """What distinguishes the networks of two configs, the most important first."""

    backbone: tuple[str, tuple[int, ...], int]  # type, blocks of each stage, channels of the stem
    in_channels: tuple[int, ...]
    has_separate_branches: bool
    num_levels: int
    feedforward_channels: int
    has_mask_boxes: bool

    def count_equal(self, other: 'NetworkTraits') -> int:
        """Count the equal fields."""
        return sum(mine == theirs for mine, theirs in zip(self, other, strict=True))


def read_checkpoint_config(path: Path) -> Config:
    """Return the config in a checkpoint of this project.

    Raises:
        CheckpointError: The file is no such checkpoint.
        DataError: It does not exist.
    """
    if not path.is_file():
        raise DataError(missing_file('checkpoint', path))
    return read_stored_config(read_openmmlab(path), path)


def choose_base(config: Config, task: str, configs: Mapping[Path, Config]) -> Path:
    """Return the config of a task whose network is the most similar to another config's.

    Args:
        config: The config of the checkpoint.
        task: ``instance``, ``panoptic`` or ``semantic``.
        configs: The configs to choose from, by their files.

    Raises:
        DataError: No config has this backbone.
    """
    network = read_network(config)
    candidates = {
        path: read_network(other) for path, other in configs.items() if find_task(other) == task
    }
    scores = {
        path: candidate.count_equal(network)
        for path, candidate in candidates.items()
        if candidate.backbone == network.backbone
    }
    if not scores:
        raise DataError(
            f'no config for {task} segmentation has the backbone of the checkpoint, {network.backbone[0]} '
            f'{network.backbone[1]}; write one, and give it with --base'
        )
    # The shortest name is the plainest of several schedules.
    return min(scores, key=lambda path: (-scores[path], len(path.name), path.name))


def read_network(config: Config) -> NetworkTraits:
    """Read the network of a config.

    Raises:
        DataError: The config has no Mask DINO.
    """
    head = get_head_settings(config)
    if 'pixel_decoder' not in head:
        raise DataError('the checkpoint is not from a Mask DINO; use a checkpoint of this project')
    backbone, pixel_decoder = config.model['backbone'], head['pixel_decoder']
    size = backbone.get('base_channels') or backbone.get('embed_dims') or 64
    return NetworkTraits(
        (backbone['type'].rpartition('.')[2], get_depths(backbone), size),
        tuple(pixel_decoder['in_channels']),
        bool(head['queries'].get('separate_branches')),
        pixel_decoder['num_levels'],
        pixel_decoder['feedforward_channels'],
        uses_mask_boxes(config),
    )


def find_task(config: Config) -> str:
    """Return the task that a config is made for; ``boxes`` if it has no mask loss, ``none`` if it has no head."""
    head: dict[str, Any] = get_head_settings(config)
    if 'criterion' not in head:
        return 'none'
    if head['criterion'].get('loss_mask') is None:
        return 'boxes'
    if config.get('default_scope') == 'mmseg':
        return 'semantic'
    return 'panoptic' if config.model['test_cfg'].get('panoptic_on') else 'instance'


def name_base(base: Path, out: Path) -> str:
    """Return what ``_base_`` of a config says: a relative path, or ``mask_dino::...`` for an installed package."""
    configs = find_root() / 'configs'
    if find_root().name == '.mim' and base.is_relative_to(configs):
        return f'{PREFIX}{base.relative_to(configs).as_posix()}'
    return os.path.relpath(base.resolve(), out.resolve().parent)
