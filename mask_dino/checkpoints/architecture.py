"""What the tensors of an original checkpoint show of its config."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mmdet.models.backbones import ResNet
from mmengine.config import Config
from torch import Tensor

from .layout import PIXEL_DECODER, read_levels
from .loading import CheckpointError

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
    for backbone, pattern in BLOCKS.items():
        stages = Counter(int(match[1]) for name in state if (match := re.fullmatch(pattern, name)))
        if stages:
            return backbone, tuple(stages[stage] for stage in sorted(stages))
    raise CheckpointError('the backbone is neither a ResNet nor a Swin transformer in the original naming')


def _rows(state: Mapping[str, Tensor], name: str) -> int:
    if name not in state:
        raise CheckpointError(f'not a whole Mask DINO in the original naming: there is no {name}')
    return len(state[name])


def _joined(numbers: Iterable[float]) -> str:
    return '-'.join(map(str, numbers))
