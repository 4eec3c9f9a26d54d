"""Sets of predictions to be supervised: their names in the losses, and their matches."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..structures import Matches, Outputs, Predictions


class Matched(NamedTuple):
    """Sets of predictions with their names in the losses, their matches and what their losses are divided by."""

    prefixes: list[str]  # S of them
    predictions: Predictions  # (S, B, Q, ...)
    matches: Matches
    normalizer: Tensor  # (2,) matched objects and matched objects with a box; mean over the processes, at least 1

    def batch_index(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return set, image and query indices (S, M) of all matched queries of the batch."""
        query = torch.cat([q for q, _ in self.matches], 1)
        image = torch.cat([torch.full_like(q, i) for i, (q, _) in enumerate(self.matches)], 1)
        sets = torch.arange(len(query), device=query.device)[:, None].expand_as(query)
        return sets, image, query


def matching_sets(outputs: Outputs) -> tuple[list[str], Predictions]:
    """Return what Hungarian matching supervises: the matching queries of every layer, and the encoder tokens."""
    prefixes, predictions = _prefixes(len(outputs.layers.logits)), outputs.layers
    if outputs.encoder is not None:
        prefixes.append('enc_')
        predictions = predictions.cat(Predictions(*(x[None] for x in outputs.encoder)))
    return prefixes, predictions


def denoising_sets(outputs: Outputs) -> tuple[list[str], Predictions, Matches]:
    """Return the denoising queries of every layer, with their known matches."""
    # Learned queries get no denoising loss before the first layer, as in the original.
    first = 0 if outputs.encoder is not None else 1
    predictions = Predictions(*(x[first:] for x in outputs.denoising))
    prefixes = [f'{prefix}dn_' for prefix in _prefixes(len(outputs.denoising.logits))[first:]]
    matches = [(q.expand(len(prefixes), -1), t.expand(len(prefixes), -1)) for q, t in outputs.denoising_matches]
    return prefixes, predictions, matches


def _prefixes(num_layers: int) -> list[str]:
    return [*(f'd{i}.' for i in range(num_layers - 1)), '']
