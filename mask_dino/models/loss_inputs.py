"""The sets of predictions that losses compare with the targets: of matching and of denoising queries."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..structures import Matches, Outputs, Predictions


class LossInputs(NamedTuple):
    """Sets of predictions with the names of their losses, their matches, and what their losses are divided by."""

    prefixes: list[str]  # S of them
    predictions: Predictions  # (S, B, Q, ...)
    matches: Matches
    # (2,) matched objects, with the weights of their classes, and those with a box; mean over the processes, at least 1
    normalizer: Tensor

    def batch_index(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return set, image and query indices (S, M) of all matched queries of the batch."""
        queries, images = [], []
        for image, (query, _) in enumerate(self.matches):
            queries.append(query)
            images.append(torch.full_like(query, image))
        query = torch.cat(queries, 1)
        sets = torch.arange(query.shape[0], device=query.device)
        return sets[:, None].expand_as(query), torch.cat(images, 1), query


def matching_sets(outputs: Outputs) -> tuple[list[str], Predictions]:
    """Return what Hungarian matching supervises: the matching queries of every layer, and the encoder tokens."""
    prefixes = _prefixes(outputs.layers.logits.shape[0])
    if outputs.encoder is None:
        return prefixes, outputs.layers
    encoder = Predictions(*(x[None] for x in outputs.encoder))  # (1, B, Q, ...)
    return [*prefixes, 'enc_'], outputs.layers.cat(encoder)


def denoising_sets(outputs: Outputs) -> tuple[list[str], Predictions, Matches]:
    """Return the denoising queries of every layer, with their known matches."""
    # Learned queries get no denoising loss before the first layer, as in the original.
    first = 0 if outputs.encoder is not None else 1
    num_layers = outputs.denoising.logits.shape[0]
    prefixes = [f'{layer}dn_' for layer in _prefixes(num_layers)]
    predictions = Predictions(*(x[first:] for x in outputs.denoising))
    sets = (num_layers - first, -1)
    matches = [(q.expand(sets), t.expand(sets)) for q, t in outputs.denoising_matches]  # (S, M)
    return prefixes[first:], predictions, matches


def _prefixes(num_layers: int) -> list[str]:
    return [*(f'd{layer}.' for layer in range(num_layers - 1)), '']
