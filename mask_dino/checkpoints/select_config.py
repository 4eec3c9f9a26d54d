"""Which config fits the tensors of an original checkpoint, or of a detector of the DINO family."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mmdet.models.backbones import ResNet
from mmengine.config import Config
from torch import Tensor

from .dino import find_naming
from .level_order import read_levels
from .loading import CheckpointError
from .maskdino_names import PIXEL_DECODER, PREDICTOR, compile_pattern, rename_tensors

BLOCKS = {
    'ResNet': ('backbone.res#.#.conv1.weight', 'backbone.layer#.#.conv1.weight'),
    'SwinTransformer': (
        'backbone.layers.#.blocks.#.norm1.weight',
        'backbone.stages.#.blocks.#.norm1.weight',
    ),
}
"""A tensor that every block of a backbone has once, with its stage and block, in the original and in mmdet."""
LEVELS = 'pixel_decoder.level_embed'
UNSEEN = ('num_queries', 'boxes_from_masks', 'pixel_exact', 'mask_window')
"""Settings that change the results of selected queries, and that no tensor shows."""


class Architecture(NamedTuple):
    """What distinguishes one configured model from another by its tensors."""

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
            queries = (
                f'queries selected from the encoder with anchor sizes {_join(self.anchor_sizes)}'
            )
        return (
            f'{self.backbone} of {_join(self.depths)} blocks; {self.num_levels} encoder levels over backbone maps of '
            f'{_join(self.channels)} channels; encoder FFN {self.encoder_channels}; {self.num_classes} classes, '
            f'{self.num_logits} logits; {queries}'
        )


def read_architecture(state: Mapping[str, Tensor]) -> Architecture:
    """Read the architecture from the shapes of tensors in the original naming.

    Raises:
        CheckpointError: A tensor that shows it is missing.
    """
    levels = read_levels(state)
    backbone, depths = count_blocks(state)
    if not backbone:
        raise CheckpointError(
            'the backbone is neither a ResNet nor a Swin transformer in the original naming'
        )
    learned = f'{PREDICTOR}.query_embed.weight' in state
    return Architecture(
        backbone,
        depths,
        channels=tuple(sorted(levels.channels)),
        num_levels=levels.total,
        encoder_channels=_count_rows(
            state, f'{PIXEL_DECODER}.transformer.encoder.layers.0.linear1.weight'
        ),
        num_classes=_count_rows(state, f'{PREDICTOR}.label_enc.weight'),
        num_logits=_count_rows(state, f'{PREDICTOR}.class_embed.weight'),
        num_learned_queries=_count_rows(state, f'{PREDICTOR}.query_embed.weight') if learned else 0,
        anchor_sizes=() if learned else levels.anchor_sizes,
    )


def read_config_architecture(config: Config) -> Architecture | None:
    """Return what a config describes; None if that is no Mask DINO of the original."""
    head = get_head_settings(config)
    if 'pixel_decoder' not in head:
        return None
    pixel_decoder, queries = head['pixel_decoder'], head['queries']
    if queries.get('separate_branches'):
        return None  # the original has none
    num_classes = head.get('num_classes') or head['num_things_classes'] + head['num_stuff_classes']
    has_no_object = not head['criterion']['loss_cls'].get('use_sigmoid', False)
    first_level = pixel_decoder.get('first_level', 1)
    return Architecture(
        backbone=config.model.backbone.type,
        depths=get_depths(config.model.backbone),
        channels=tuple(pixel_decoder['in_channels'][first_level:]),
        num_levels=pixel_decoder['num_levels'],
        encoder_channels=pixel_decoder['feedforward_channels'],
        num_classes=num_classes,
        num_logits=num_classes + has_no_object,
        num_learned_queries=0 if 'anchor_sizes' in queries else queries['num_queries'],
        anchor_sizes=tuple(queries.get('anchor_sizes', ())),
    )


def get_head_settings(config: Config) -> dict:
    """Return the settings of the head, of a detector or of a segmentor; none if the model has neither."""
    model = config.get('model', {})
    return model.get('panoptic_head') or model.get('decode_head') or {}


def get_depths(backbone: dict) -> tuple[int, ...]:
    """Return the blocks of each stage that the settings of a backbone describe; nothing if they do not show it."""
    if 'depths' in backbone:
        return tuple(backbone['depths'])
    return tuple(ResNet.arch_settings[backbone['depth']][1]) if 'depth' in backbone else ()


def count_blocks(names: Iterable[str]) -> tuple[str, tuple[int, ...]]:
    """Return the kind of a backbone and the blocks of each stage, or ``('', ())`` if the names show neither.

    Args:
        names: Of tensors, in the original naming or in mmdet's.
    """
    listed = list(names)
    for backbone, blocks in BLOCKS.items():
        patterns = [compile_pattern(block) for block in blocks]
        matches = [pattern.fullmatch(name) for name in listed for pattern in patterns]
        stages = Counter(int(match[1]) for match in matches if match)
        if stages:
            return backbone, tuple(stages[stage] for stage in sorted(stages))
    return '', ()


def _count_rows(state: Mapping[str, Tensor], name: str) -> int:
    if name not in state:
        raise CheckpointError(f'not a whole Mask DINO in the original naming: there is no {name}')
    return len(state[name])


def _join(numbers: Iterable[float]) -> str:
    return '-'.join(map(str, numbers))


class Choice(NamedTuple):
    """A config, and why it was chosen."""

    path: Path
    reason: str


def choose_config(architecture: Architecture, source: str, folder: Path) -> Choice:
    """Return the config in a folder that fits an architecture.

    Tensors do not show whether the decoder starts from the boxes of predicted masks; the names of the published files
    do. Configs that differ only in the schedule give the same model: the longest schedule is taken.

    Args:
        source: Name of the checkpoint's file.

    Raises:
        CheckpointError: No config fits.
    """
    configs = read_configs(folder)
    fitting = [
        path for path, config in configs.items() if read_config_architecture(config) == architecture
    ]
    if not fitting:
        raise CheckpointError(
            f'no config in {folder} fits. The tensors show: {architecture}. Write a config for it, on top of the most '
            'similar one there, and give it with --config'
        )
    is_enhanced = 'maskenhanced' in source
    similar = [path for path in fitting if uses_mask_boxes(configs[path]) == is_enhanced] or fitting
    chosen = max(similar, key=lambda path: configs[path].get('train_cfg', {}).get('max_iters', 0))
    reason = _explain(len(fitting), len(similar), is_enhanced)
    return Choice(chosen, reason)


def read_configs(folder: Path) -> dict[Path, Config]:
    """Read the configs in a folder, without the modules that they import."""
    return {
        path: Config.fromfile(path, import_custom_modules=False)
        for path in sorted(folder.glob('*.py'))
    }


def uses_mask_boxes(config: Config) -> bool:
    """Return whether the decoder starts from the boxes of predicted masks."""
    return bool(get_head_settings(config)['queries'].get('boxes_from_masks', False))


def list_unseen_settings(config: Config) -> list[str]:
    """Return the settings that no tensor shows, with their values in the config."""
    queries = get_head_settings(config).get('queries', {})
    return [f'queries.{name}={queries[name]}' for name in UNSEEN if name in queries]


def _explain(num_fitting: int, num_similar: int, is_enhanced: bool) -> str:
    if num_fitting == 1:
        return 'the only one for this architecture'
    reason = f'one of {num_fitting} for this architecture'
    if num_similar < num_fitting and is_enhanced:
        reason += "; with boxes from masks, as the name of the file says 'maskenhanced'"
    elif num_similar < num_fitting:
        reason += "; with no boxes from masks, as the name of the file does not say 'maskenhanced'"
    return f'{reason}; with the longest schedule' if num_similar > 1 else reason


def choose_detector_config(state: Mapping[str, Tensor], folder: Path) -> Path:
    """Return the config in a folder whose model has the backbone and the levels of a DINO, and detects as it does.

    Raises:
        CheckpointError: The checkpoint is no DINO, or no config fits.
    """
    depths, num_levels = read_detector_size(state)
    for path, config in read_configs(folder).items():
        head = get_head_settings(config)
        if not head.get('queries', {}).get('separate_branches'):
            continue
        size = (get_depths(config.model.backbone), head['pixel_decoder']['num_levels'])
        if size == (depths, num_levels):
            return path
    raise CheckpointError(
        f'no config in {folder} is made for a detector with {num_levels} levels over a backbone of '
        f'{_join(depths) or "unknown"} blocks. Write one, on top of the one for R50 there, and give it with --config'
    )


def read_detector_size(state: Mapping[str, Tensor]) -> tuple[tuple[int, ...], int]:
    """Return the blocks of each stage of the backbone, and the levels of the encoder, of a detector.

    Raises:
        CheckpointError: The checkpoint is no DINO.
    """
    naming = find_naming(state)
    renamed = rename_tensors(state, [*naming.backbone, *naming.head]).state
    _, depths = count_blocks(renamed)
    num_levels = len(renamed[LEVELS]) if LEVELS in renamed else 1
    return depths, num_levels
