"""The data that the parts of Mask DINO exchange: plain tensors with a name and a shape."""

from typing import NamedTuple

import torch
from torch import Tensor

Matches = list[tuple[Tensor, Tensor]]
"""Per image: indices (S, M) of queries and indices (S, M) of their targets, for each of S sets of predictions."""


class Targets(NamedTuple):
    """Ground-truth segments of one image; boxes and masks span the padded input."""

    labels: Tensor  # (N,) int64
    boxes: Tensor  # (N, 4) cxcywh in [0, 1]
    masks: Tensor  # (N, H, W) bool; (N, 0, 0) where the data has only boxes
    known: Tensor | None = None  # (H, W) bool, True where a pixel is annotated; None if all are


class Memory(NamedTuple):
    """Multi-scale encoder tokens, levels concatenated from high to low resolution."""

    tokens: Tensor  # (B, L, C)
    sizes: tuple[tuple[int, int], ...]  # (h, w) of each level, as numbers of the host
    spatial_shapes: Tensor  # (num_levels, 2) the same on the device, which mmcv's kernel reads
    level_start_index: Tensor  # (num_levels,)


class Queries(NamedTuple):
    """What a decoder layer reads and writes: an embedding and a box for every query."""

    content: Tensor  # (B, Q, C)
    reference: Tensor  # (B, Q, 4) cxcywh before the sigmoid


class QueryPredictions(NamedTuple):
    """What the network predicts for every query."""

    logits: Tensor  # (B, Q, num_logits)
    boxes: Tensor  # (B, Q, 4) cxcywh in [0, 1] of the padded input
    masks: Tensor  # (B, Q, h, w) logits at stride 4


class Predictions(NamedTuple):
    """As :class:`QueryPredictions`, with factored masks, for one or more sets of predictions.

    The mask logits of a query are the product of its embedding with the mask features. Losses and matching need
    logits at a few points only, so they compute the product there.
    """

    logits: Tensor  # ([S,] B, Q, num_logits)
    boxes: Tensor  # ([S,] B, Q, 4) cxcywh in [0, 1] of the padded input
    mask_embed: Tensor  # ([S,] B, Q, C)

    def decode(self, mask_features: Tensor) -> QueryPredictions:
        """Compute the masks of one set at the resolution of ``mask_features`` (B, C, h, w)."""
        masks = torch.einsum('bqc,bchw->bqhw', self.mask_embed, mask_features)
        return QueryPredictions(self.logits, self.boxes, masks)

    def split(self, index: int) -> tuple['Predictions', 'Predictions']:
        """Separate the first ``index`` queries from the others."""
        first, second = zip(*((x[..., :index, :], x[..., index:, :]) for x in self), strict=True)
        return Predictions(*first), Predictions(*second)

    def cat(self, other: 'Predictions') -> 'Predictions':
        """Append the sets of predictions of ``other``."""
        return Predictions(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


class Denoising(NamedTuple):
    """Noised ground truth to reconstruct, and the target that each query was made from."""

    queries: Queries
    attn_mask: Tensor  # (D + Q, D + Q) bool, True where attention is blocked
    matches: Matches


class Outputs(NamedTuple):
    """Everything that a training step supervises."""

    mask_features: Tensor  # (B, C, h, w) at stride 4
    layers: Predictions  # (S, B, Q, ...): before the first decoder layer, then after each
    encoder: Predictions | None  # (B, Q, ...) of the selected tokens; None with learned queries
    denoising: Predictions  # as layers, for the denoising queries
    denoising_matches: Matches
