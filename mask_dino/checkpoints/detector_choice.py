"""Choosing the config that a detector fits."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from torch import Tensor

from .architecture import configured_depths, configured_head
from .detectors import find_naming
from .loading import CheckpointError
from .renaming import pattern, rename

# A tensor that every block of a backbone has once, with its stage and block.
BLOCKS = [pattern('backbone.layer#.#.conv1.weight'), pattern('backbone.stages.#.blocks.#.norm1.weight')]
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
    matches = (block.fullmatch(name) for name in names for block in BLOCKS)
    stages = Counter(int(match[1]) for match in matches if match)
    return tuple(stages[stage] for stage in sorted(stages)), len(names[LEVELS]) if LEVELS in names else 1
