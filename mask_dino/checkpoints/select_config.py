"""What the tensors of an original checkpoint show of its config."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mmdet.models.backbones import ResNet
from mmengine.config import Config
from torch import Tensor

from .dino import find_naming
from .level_order import PIXEL_DECODER, read_levels
from .loading import CheckpointError
from .rename import pattern, rename

PREDICTOR = 'sem_seg_head.predictor'
# A tensor that every block of the backbone has once, with its stage and block.
BLOCKS = {
    'ResNet': r'backbone\.res(\d+)\.(\d+)\.conv1\.weight',
    'SwinTransformer': r'backbone\.layers\.(\d+)\.blocks\.(\d+)\.norm1\.weight',
}


class Architecture(NamedTuple):
    """What tells one configured model from another by its tensors."""

    backbone: str
    depths: tuple[int, ...]  # blocks of each stage
    channels: tuple[int, ...]  # of the backbone maps that the encoder sees, fine to coarse
    num_levels: int
    encoder_channels: int  # of the feed-forward layers of the encoder
    num_classes: int
    num_logits: int
    num_learned_queries: int  # 0 where queries are selected from the encoder
    anchor_sizes: tuple[float, ...]  # of selected queries, fine to coarse

    def __str__(self) -> str:
        queries = f'{self.num_learned_queries} learned queries'
        if not self.num_learned_queries:
            queries = f'queries selected from the encoder with anchor sizes {_joined(self.anchor_sizes)}'
        return (
            f'{self.backbone} of {_joined(self.depths)} blocks; {self.num_levels} encoder levels over backbone maps of '
            f'{_joined(self.channels)} channels; encoder FFN {self.encoder_channels}; {self.num_classes} classes, '
            f'{self.num_logits} logits; {queries}'
        )


def read_architecture(state: Mapping[str, Tensor]) -> Architecture:
    """Read the architecture off tensors in the original naming.

    Raises:
        CheckpointError: A tensor that tells is missing.
    """
    levels = read_levels(state)
    backbone, depths = _read_backbone(state)
    learned = f'{PREDICTOR}.query_embed.weight' in state
    return Architecture(
        backbone,
        depths,
        tuple(sorted(levels.channels)),
        levels.total,
        _rows(state, f'{PIXEL_DECODER}.transformer.encoder.layers.0.linear1.weight'),
        _rows(state, f'{PREDICTOR}.label_enc.weight'),
        _rows(state, f'{PREDICTOR}.class_embed.weight'),
        _rows(state, f'{PREDICTOR}.query_embed.weight') if learned else 0,
        () if learned else levels.anchor_sizes,
    )


def configured_architecture(config: Config) -> Architecture | None:
    """Return what a config describes; None if that is no Mask DINO of the original."""
    head = configured_head(config)
    if 'pixel_decoder' not in head:
        return None
    pixel_decoder, queries = head['pixel_decoder'], head['queries']
    if queries.get('separate_branches'):
        return None  # the original has none
    num_classes = head.get('num_classes') or head['num_things_classes'] + head['num_stuff_classes']
    return Architecture(
        config.model.backbone.type,
        configured_depths(config.model.backbone),
        tuple(pixel_decoder['in_channels'][pixel_decoder.get('first_level', 1) :]),
        pixel_decoder['num_levels'],
        pixel_decoder['feedforward_channels'],
        num_classes,
        num_classes + (not head['criterion']['loss_cls'].get('use_sigmoid', False)),
        0 if 'anchor_sizes' in queries else queries['num_queries'],
        tuple(queries.get('anchor_sizes', ())),
    )


def configured_head(config: Config) -> dict:
    """Return the settings of the head, of a detector or of a segmentor; none if the model has neither."""
    return config.get('model', {}).get('panoptic_head') or config.get('model', {}).get('decode_head') or {}


def configured_depths(backbone: dict) -> tuple[int, ...]:
    """Return the blocks of each stage that a config describes; nothing where it does not say."""
    if 'depths' in backbone:
        return tuple(backbone['depths'])
    return tuple(ResNet.arch_settings[backbone['depth']][1]) if 'depth' in backbone else ()


def _read_backbone(state: Mapping[str, Tensor]) -> tuple[str, tuple[int, ...]]:
    for backbone, block in BLOCKS.items():
        stages = Counter(int(match[1]) for name in state if (match := re.fullmatch(block, name)))
        if stages:
            return backbone, tuple(stages[stage] for stage in sorted(stages))
    raise CheckpointError('the backbone is neither a ResNet nor a Swin transformer in the original naming')


def _rows(state: Mapping[str, Tensor], name: str) -> int:
    if name not in state:
        raise CheckpointError(f'not a whole Mask DINO in the original naming: there is no {name}')
    return len(state[name])


def _joined(numbers: Iterable[float]) -> str:
    return '-'.join(map(str, numbers))


# What changes the results of selected queries, and leaves no trace in the tensors.
UNSEEN = ('num_queries', 'boxes_from_masks', 'pixel_exact')


class Choice(NamedTuple):
    """A config, and why it was chosen."""

    path: Path
    reason: str


def choose_config(architecture: Architecture, source: str, folder: Path) -> Choice:
    """Return the config in a folder that fits an architecture.

    Tensors do not show whether the decoder starts from the boxes of predicted masks; the names of the published files
    do. Configs that differ in the schedule alone give the same model: the longest schedule is taken.

    Args:
        source: Name of the checkpoint's file.

    Raises:
        CheckpointError: No config fits.
    """
    configs = {path: Config.fromfile(path, import_custom_modules=False) for path in sorted(folder.glob('*.py'))}
    fitting = [path for path, config in configs.items() if configured_architecture(config) == architecture]
    if not fitting:
        raise CheckpointError(
            f'no config in {folder} fits. Read off the tensors: {architecture}. Write a config for it, on top of the '
            'most similar one there, and give it with --config'
        )
    enhanced = 'maskenhanced' in source
    alike = [path for path in fitting if boxes_from_masks(configs[path]) == enhanced] or fitting
    chosen = max(alike, key=lambda path: configs[path].get('train_cfg', {}).get('max_iters', 0))
    return Choice(chosen, _reason(len(fitting), len(alike), enhanced))


def boxes_from_masks(config: Config) -> bool:
    """Return whether the decoder starts from the boxes of predicted masks."""
    return bool(configured_head(config)['queries'].get('boxes_from_masks', False))


def unseen_settings(config: Config) -> list[str]:
    """Return the settings that are taken from the config on trust, because no tensor shows them."""
    queries = configured_head(config).get('queries', {})
    return [f'queries.{name}={queries[name]}' for name in UNSEEN if name in queries]


def _reason(num_fitting: int, num_alike: int, enhanced: bool) -> str:
    if num_fitting == 1:
        return 'the only one for this architecture'
    reason = f'one of {num_fitting} for this architecture'
    if num_alike < num_fitting:
        said = ('boxes from masks, as', 'says') if enhanced else ('no boxes from masks, as', 'does not say')
        reason += f"; with {said[0]} the name of the file {said[1]} 'maskenhanced'"
    return reason + ('; with the longest schedule' if num_alike > 1 else '')


# A tensor that every block of a backbone has once, with its stage and block.
DETECTOR_BLOCKS = [pattern('backbone.layer#.#.conv1.weight'), pattern('backbone.stages.#.blocks.#.norm1.weight')]
LEVELS = 'pixel_decoder.level_embed'


def choose_detector_config(state: Mapping[str, Tensor], folder: Path) -> Path:
    """Return the config in a folder that detects as a DINO of this backbone and these levels does.

    Raises:
        CheckpointError: The checkpoint is no DINO, or no config fits.
    """
    depths, num_levels = read_detector_size(state)
    for path in sorted(folder.glob('*.py')):
        config = Config.fromfile(path, import_custom_modules=False)
        head = configured_head(config)
        if (
            head.get('queries', {}).get('separate_branches')
            and configured_depths(config.model.backbone) == depths
            and head['pixel_decoder']['num_levels'] == num_levels
        ):
            return path
    raise CheckpointError(
        f'no config in {folder} is made for a detector with {num_levels} levels over a backbone of '
        f'{"-".join(map(str, depths)) or "unknown"} blocks. Write one, on top of the one for R50 there, and give it '
        'with --config'
    )


def read_detector_size(state: Mapping[str, Tensor]) -> tuple[tuple[int, ...], int]:
    """Read the blocks of each stage of the backbone, and the encoder's levels, off a detector."""
    naming = find_naming(state)
    names = rename(state, [*naming.backbone, *naming.head]).state
    matches = (block.fullmatch(name) for name in names for block in DETECTOR_BLOCKS)
    stages = Counter(int(match[1]) for match in matches if match)
    return tuple(stages[stage] for stage in sorted(stages)), len(names[LEVELS]) if LEVELS in names else 1
