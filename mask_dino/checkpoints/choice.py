"""Choosing the config that an original checkpoint belongs to."""

from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from .architecture import Architecture, configured_architecture, configured_head
from .loading import CheckpointError

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
