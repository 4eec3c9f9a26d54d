"""Unified denoising: noised ground truth for the decoder to reconstruct."""

import torch
import torch.nn.functional as F
from mmdet.models.layers import inverse_sigmoid
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..structures import Denoising, Queries, Targets


@MODELS.register_module()
class UnifiedDenoising(nn.Module):
    """Groups of noised boxes and labels whose classes, boxes and masks the decoder reconstructs (paper, section 3.4).

    The noise is described in the paper's supplement, B.2, and the groups in DN-DETR (arXiv 2203.01305). With more
    objects than ``num_queries``, there is one group of all objects. The original drops denoising then.

    Args:
        num_queries: Largest number of denoising queries, filled with as many whole groups as fit.
        noise_scale: In [0, 1]. Largest shift of a centre, as a fraction of half the side, and largest change of a
            side, as a fraction of the side.
        flip_prob: Probability of a random label; by default half of ``noise_scale``, as in the original. At 1, labels
            do not show the class, and the decoder has to recognise it in the image.
    """

    def __init__(
        self,
        num_classes: int,
        num_queries: int = 100,
        noise_scale: float = 0.4,
        flip_prob: float | None = None,
        embed_dims: int = 256,
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.noise_scale = noise_scale
        if flip_prob is None:
            flip_prob = noise_scale / 2
        self.flip_prob = flip_prob
        self.label_embed = nn.Embedding(num_classes, embed_dims)

    def forward(self, targets: list[Targets], num_matching: int) -> Denoising:
        """Return the denoising queries (B, D, ...) of a batch with Q = ``num_matching`` matching queries per image."""
        # A batch without objects has one group of one padding query. The graph, the loss names and the parameters
        # with a gradient are then the same on every rank and in every step.
        size = max(1, *(len(t.labels) for t in targets))
        groups = max(1, self.num_queries // size)
        labels = _tile([t.labels for t in targets], size, groups)  # (B, D)
        boxes = _tile([t.boxes for t in targets], size, groups)  # (B, D, 4)
        content = self.label_embed(self.flip(labels))
        reference = inverse_sigmoid(self.jitter(boxes))
        # Queries that fill up images with fewer objects are zero, and visible to the others, as in the original.
        counts = torch.tensor([len(t.labels) for t in targets])
        counts = counts.to(labels.device, non_blocking=True)
        valid = torch.arange(size, device=labels.device) < counts[:, None]  # (B, size)
        valid = valid.repeat(1, groups)[..., None]  # (B, D, 1)
        return Denoising(
            Queries(content * valid, reference * valid),
            make_attention_mask(size, groups, num_matching, labels.device),
            [_matches(len(t.labels), size, groups, labels.device) for t in targets],
        )

    def flip(self, labels: Tensor) -> Tensor:
        """Replace labels (B, D) by random ones, with probability ``flip_prob`` each."""
        flipped = torch.rand(labels.shape, device=labels.device) < self.flip_prob
        random_labels = torch.randint_like(labels, self.label_embed.num_embeddings)
        return torch.where(flipped, random_labels, labels)

    def jitter(self, boxes: Tensor) -> Tensor:
        """Shift and scale cxcywh boxes (..., 4) by uniform noise, clamped to the image."""
        sides = boxes[..., 2:]
        largest_change = torch.cat((sides / 2, sides), -1) * self.noise_scale
        noise = 2 * torch.rand_like(boxes) - 1
        return (boxes + largest_change * noise).clamp(0, 1)


def make_attention_mask(size: int, groups: int, num_matching: int, device: torch.device) -> Tensor:
    """Return the mask (D + Q, D + Q), True where blocked: a group sees itself and the matching queries only."""
    group = torch.arange(groups, device=device).repeat_interleave(size)
    group = torch.cat((group, group.new_full((num_matching,), -1)))
    return (group[:, None] != group) & (group >= 0)


def _tile(values: list[Tensor], size: int, groups: int) -> Tensor:
    """Pad (N, ...) of each image to ``size`` and repeat them: (B, size * groups, ...)."""
    padded = [F.pad(x, (0, 0) * (x.ndim - 1) + (0, size - len(x))) for x in values]
    return torch.stack([x.repeat(groups, *[1] * (x.ndim - 1)) for x in padded])


def _matches(count: int, size: int, groups: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the indices (1, M) of the denoising queries that are no padding, and of the targets they are made of."""
    target = torch.arange(count, device=device).repeat(groups)
    offset = torch.arange(groups, device=device).repeat_interleave(count) * size
    return (target + offset)[None], target[None]
