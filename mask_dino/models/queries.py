"""The sources of the matching queries: the encoder (detection), or learned embeddings (semantic models)."""

from collections.abc import Sequence

import torch
from mmdet.models.layers import inverse_sigmoid
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..boxes import masks_to_boxes, token_centers
from ..ops.covered_pixels import find_covered_pixels
from ..ops.stray_pixels import check_window, remove_stray_pixels
from ..ops.tracing import select_highest, select_highest_once, wants_single_operations
from ..structures import Memory, Predictions, Queries
from .prediction import PredictionHead


class QuerySource(nn.Module):
    """Parent of the classes that ``queries`` of the head can name: what the other parts need to know about them."""

    anchor_sizes: tuple[float, ...] | None = None
    """Side of the square proposal at each encoder level, fine to coarse; None without proposals."""
    boxes_from_masks = False
    """Whether the boxes from which the decoder starts are made of masks."""
    learned_content = False
    """Whether the content of the queries is a parameter, not an encoder token."""
    separate_branches = False
    """Whether the encoder tokens have prediction branches of their own."""


@MODELS.register_module()
class LearnedQueries(QuerySource):
    """The same content and reference for every image, as in the original's semantic models."""

    learned_content = True

    def __init__(self, num_queries: int, embed_dims: int = 256) -> None:
        super().__init__()
        self.content = nn.Embedding(num_queries, embed_dims)
        self.reference = nn.Embedding(num_queries, 4)

    def forward(
        self, memory: Memory, head: PredictionHead, mask_features: Tensor
    ) -> tuple[Queries, None]:
        """Return content (B, Q, C) and reference (B, Q, 4), and None: no prediction of the encoder is supervised."""
        size = (memory.tokens.shape[0], -1, -1)
        return Queries(self.content.weight.expand(size), self.reference.weight.expand(size)), None


@MODELS.register_module()
class QuerySelection(QuerySource):
    """Unified query selection: the encoder tokens of highest class score become queries (paper, section 3.4).

    Args:
        num_queries: Queries to select; an image with fewer tokens gives all of them.
        anchor_sizes: Side of the square proposal at each level, fine to coarse, as a fraction of the input.
        boxes_from_masks: Whether the decoder starts from the box of the predicted mask, not from the predicted box.
        pixel_exact: How a box encloses its mask; see :func:`~mask_dino.boxes.masks_to_boxes`.
        mask_window: With it, the box of a mask leaves out the pixels outside of a window around the predicted box, as
            many times as large as that box; see :func:`~mask_dino.ops.stray_pixels.remove_stray_pixels`. Without it,
            the box encloses all pixels, as in the paper.
        learned_content: Whether the content of the queries is learned and only the box is selected: the mixed query
            selection of DINO (arXiv 2203.03605, section 3.4), ``LEARN_TGT`` in the original.
        separate_branches: Whether the tokens have class, box and mask branches of their own, as in DINO.

    Raises:
        ValueError: ``mask_window`` is not positive.
    """

    anchor_sizes: tuple[float, ...]

    def __init__(
        self,
        num_queries: int,
        anchor_sizes: Sequence[float],
        boxes_from_masks: bool = False,
        pixel_exact: bool = True,
        mask_window: float | None = None,
        learned_content: bool = False,
        separate_branches: bool = False,
        embed_dims: int = 256,
    ) -> None:
        super().__init__()
        check_window(mask_window, 'queries.mask_window')
        self.num_queries = num_queries
        self.anchor_sizes = tuple(anchor_sizes)
        self.boxes_from_masks = boxes_from_masks
        self.pixel_exact = pixel_exact
        self.mask_window = mask_window
        self.learned_content = learned_content
        self.separate_branches = separate_branches
        self.content = nn.Embedding(num_queries, embed_dims) if learned_content else None
        self.proj = nn.Sequential(nn.Linear(embed_dims, embed_dims), nn.LayerNorm(embed_dims))

    def forward(
        self, memory: Memory, head: PredictionHead, mask_features: Tensor
    ) -> tuple[Queries, Predictions]:
        """Select queries. Only learned content has a gradient.

        Args:
            memory: L encoder tokens (B, L, C).
            head: Predicts classes, boxes and masks of the tokens.
            mask_features: (B, C, h, w) at stride 4.

        Returns:
            Content (B, Q, C) and reference (B, Q, 4), and the predictions (B, Q, ...) for the selected tokens.
        """
        anchors = self.anchors(memory)  # (L, 4)
        # Tokens whose anchor leaves the image are zeroed and propose nothing: their reference is infinite.
        valid = ((anchors > 0.01) & (anchors < 0.99)).all(-1, keepdim=True)  # (L, 1)
        tokens = memory.tokens * valid
        proposals = anchors.logit().masked_fill(~valid, torch.inf)
        proposals = proposals.expand(tokens.shape[0], -1, -1)  # (B, L, 4)
        index = self.select(tokens, head)[..., None]  # (B, Q, 1)
        # Only the selected tokens are kept for the backward pass.
        selected = tokens.gather(1, index.expand(-1, -1, tokens.shape[-1]))
        content = self.proj(selected)  # (B, Q, C)
        reference = proposals.gather(1, index.expand(-1, -1, 4))
        predictions = head(Queries(content, reference))
        boxes = self.initial_boxes(predictions, mask_features)
        if self.content is not None:
            content = self.content.weight[: content.shape[1]].expand_as(content)
        else:
            content = content.detach()
        return Queries(content, inverse_sigmoid(boxes)), predictions

    def select(self, tokens: Tensor, head: PredictionHead) -> Tensor:
        """Return the indices (B, Q) of the tokens (B, L, C) of highest class score."""
        # Not under no_grad: in mixed precision, torch 2.4 keeps the weights that it casts there, and none would learn.
        scores = head.class_embed(self.proj(tokens)).amax(-1)
        select = select_highest_once if wants_single_operations() else select_highest
        index: Tensor = select(scores, self.num_queries)
        return index

    @torch.no_grad()
    def initial_boxes(self, predictions: Predictions, mask_features: Tensor) -> Tensor:
        """Return the boxes (B, Q, 4) from which the decoder starts (paper, section 3.4)."""
        if not self.boxes_from_masks:
            return predictions.boxes.detach()
        masks = find_covered_pixels(predictions.mask_embed, mask_features)  # (B, Q, h, w)
        if self.mask_window is not None:
            masks = remove_stray_pixels(masks, predictions.boxes, self.mask_window)
        return masks_to_boxes(masks, self.pixel_exact)

    def anchors(self, memory: Memory) -> Tensor:
        """Return one square box (L, 4), cxcywh, centred on every token."""
        centers = token_centers(memory.sizes, memory.tokens.device)  # (L, 2)
        sides = []
        for (height, width), side in zip(memory.sizes, self.anchor_sizes, strict=True):
            num_tokens = height * width
            sides.append(centers.new_full((num_tokens, 2), side))
        extents = torch.cat(sides)  # (L, 2)
        return torch.cat((centers, extents), -1)
