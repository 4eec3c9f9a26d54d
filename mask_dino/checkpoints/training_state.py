"""The state of a training in a checkpoint: what must be there for the training to go on."""

from pathlib import Path
from typing import Any

from .loading import CheckpointError

TRAINING_STATE = ('meta', 'message_hub', 'optimizer')
"""What a checkpoint must hold for a training to go on from it."""


HISTORY = {'log_scalars', 'runtime_info', 'resumed_keys'}
"""What mmengine needs in message_hub."""


class IncompleteError(CheckpointError):
    """A checkpoint holds weights, but no state of a training."""


def check_training_state(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Refuse a checkpoint from which no training can go on.

    Raises:
        IncompleteError: The file holds no state of a training.
        CheckpointError: The state is not one that mmengine has saved.
    """
    absent = [key for key in TRAINING_STATE if key not in checkpoint]
    if absent:
        raise IncompleteError(
            f'checkpoint {path} holds weights, but no state of a training ({", ".join(absent)})'
        )
    meta, hub = checkpoint['meta'], checkpoint['message_hub']
    numbers = [meta.get(key) for key in ('iter', 'epoch')] if isinstance(meta, dict) else [None]
    are_counts = all(isinstance(number, int) and number >= 0 for number in numbers)
    has_history = isinstance(hub, dict) and hub.keys() >= HISTORY
    has_settings = isinstance(checkpoint['optimizer'], dict) and bool(checkpoint['optimizer'])
    if not (are_counts and has_history and has_settings):
        raise CheckpointError(
            f'checkpoint {path} holds no state that mmengine has saved: meta, message_hub or optimizer lack what a '
            'training needs to go on; it was changed or it is damaged. Resume from another checkpoint'
        )
