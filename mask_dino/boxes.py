"""Boxes in fractions of the padded input: from masks, and the centres of encoder tokens."""

from collections.abc import Iterable

import torch
from torch import Tensor


def masks_to_boxes(masks: Tensor, pixel_exact: bool = True) -> Tensor:
    """Return the boxes that enclose masks, without a host synchronisation.

    Args:
        masks: (..., h, w) bool.
        pixel_exact: Whether a box ends behind its last pixel, as in detectron2's ``BitMasks``, and an empty mask
            gives zeros. If not, it ends on the last pixel, and an empty mask gives (1, 1, 0, 0), as the clamped
            outcome of the original's ``mask2box``; released weights depend on the difference.

    Returns:
        (..., 4) cxcywh in [0, 1].
    """
    x1, x2 = _extent(masks.any(-2))
    y1, y2 = _extent(masks.any(-1))
    height, width = masks.shape[-2:]
    scale = torch.tensor([width, height, width, height], device=masks.device)
    empty = (x2 < 0)[..., None]
    end = 1 if pixel_exact else 0
    x2, y2 = x2 + end, y2 + end
    boxes = torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), -1) / scale
    if_empty = torch.zeros(4) if pixel_exact else torch.tensor([1.0, 1.0, 0.0, 0.0])
    return torch.where(empty, if_empty.to(boxes), boxes)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and last index (...,) where ``occupied`` (..., n) holds; the last is -1 if it never does."""
    index = torch.arange(occupied.shape[-1], device=occupied.device)
    first = torch.where(occupied, index, occupied.shape[-1]).amin(-1)
    last = torch.where(occupied, index, -1).amax(-1)
    return first, last


def token_centers(sizes: Iterable[tuple[int, int]], device: torch.device) -> Tensor:
    """Return the centres (L, 2), xy in [0, 1], of the cells of levels of (h, w) ``sizes``, row by row."""
    return torch.cat([torch.stack((x.flatten(), y.flatten()), -1) for y, x in (_grid(h, w, device) for h, w in sizes)])


def _grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return y[:, None].expand(height, width), x[None].expand(height, width)
