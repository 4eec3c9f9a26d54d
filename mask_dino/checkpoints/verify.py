"""Whether a converted checkpoint is a working model: loaded from its file alone, and run once."""

from pathlib import Path

import torch
from torch import nn

from .files import build_model, configured, read_ours
from .loading import CheckpointError

SIZE = (128, 160)
SEED = 0


def fingerprint(path: Path) -> str:
    """Load a checkpoint strictly into the model of the config that it holds, and describe what that predicts.

    Equal weights give equal fingerprints, up to rounding.

    Raises:
        CheckpointError: The file lacks its config, its tensors do not fit, or the predictions are not finite.
    """
    checkpoint = read_ours(path)
    model = build_model(configured(checkpoint, path))
    try:
        model.load_state_dict(checkpoint['state_dict'], strict=True)
    except RuntimeError as error:
        raise CheckpointError(f'{path} does not fit its config: {error}') from error
    return describe(model, path)


@torch.no_grad()
def describe(model: nn.Module, path: Path) -> str:
    """Return the mean magnitude of what a model predicts for a seeded image of noise."""
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(SEED))
    predictions = model.eval()(image, None, mode='tensor')
    if not all(x.isfinite().all() for x in predictions):
        raise CheckpointError(f'{path} predicts values that are not finite')
    values = zip(predictions._fields, predictions, strict=True)
    return ', '.join(f'{name} {tuple(x.shape)} {x.abs().mean():.4f}' for name, x in values)
