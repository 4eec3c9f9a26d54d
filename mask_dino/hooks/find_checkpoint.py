"""Finding the checkpoint from which a training goes on."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config

from ..checkpoints import CheckpointError, load_checkpoint_safely

TRAINING_STATE = ('meta', 'message_hub', 'optimizer')
"""What a checkpoint must hold for a training to go on from it."""


class Progress(NamedTuple):
    """When a checkpoint was saved, and how far the training was; later ones compare as greater."""

    time: str  # as mmengine writes it, 20250131_235959
    iteration: int
    path: Path


class IncompleteError(CheckpointError):
    """A checkpoint holds weights, but no state of a training."""


def checkpoint_folder(config: Config) -> Path:
    """Return the directory in which mmengine's CheckpointHook saves."""
    hook = config.get('default_hooks', {}).get('checkpoint') or {}
    work_dir = Path(config.work_dir)
    out_dir = hook.get('out_dir')
    return Path(out_dir, work_dir.name) if out_dir else work_dir


def find_newest_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint from which a training can go on, if any, and which files were skipped and why.

    The newest one has the latest time of saving and, if two times are equal, the larger iteration. Checkpoints contain
    both, because the times of files do not survive copying.

    Raises:
        CheckpointError: There are checkpoints, but none can be read.
    """
    problems: dict[Path, Exception] = {}
    found: list[Progress] = []
    for path in sorted(folder.glob('*.pth')):
        try:
            found.append(read_progress(path))
        except (CheckpointError, OSError) as error:
            problems[path] = error
    newest = _first_readable(sorted(found, reverse=True), problems)
    skipped = [_describe_problem(path, error) for path, error in problems.items()]
    is_damaged = any(not isinstance(error, IncompleteError) for error in problems.values())
    if newest is None and is_damaged:
        raise CheckpointError(
            f'no checkpoint in {folder} can be read: {"; ".join(skipped)}. To start from the beginning, remove these '
            'files or choose another directory with --work-dir'
        )
    return newest, skipped


def read_progress(path: Path) -> Progress:
    """Read when a checkpoint was saved; its tensors stay on the disk where the format allows it.

    Raises:
        CheckpointError: The file is damaged.
        IncompleteError: The file holds no state of a training.
    """
    checkpoint = _load_lazily(path)
    absent = [key for key in TRAINING_STATE if key not in checkpoint]
    if absent:
        raise IncompleteError(f'it holds weights, but no state of a training ({", ".join(absent)})')
    meta = checkpoint['meta']
    return Progress(str(meta.get('time', '')), int(meta['iter']), path)


def _load_lazily(path: Path) -> dict[str, Any]:
    try:
        checkpoint: dict[str, Any] = torch.load(
            path, map_location='cpu', weights_only=True, mmap=True
        )
    except (
        Exception
    ):  # a damaged file can raise anything; the other reader knows more formats, and explains
        return load_checkpoint_safely(path)
    return checkpoint


def _first_readable(candidates: list[Progress], problems: dict[Path, Exception]) -> Path | None:
    """Return the first file that can be read to its end; note the problems of those before it."""
    for candidate in candidates:
        try:
            load_checkpoint_safely(candidate.path)
        except (CheckpointError, OSError) as error:
            problems[candidate.path] = error
        else:
            return candidate.path
    return None


def _describe_problem(path: Path, error: Exception) -> str:
    """Write the file and the first part of a message about it."""
    reason = str(error).removeprefix(f'checkpoint {path} ').partition(';')[0]
    return f'{path} ({reason})'
