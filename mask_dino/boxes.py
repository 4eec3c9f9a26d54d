"""Boxes of masks and centres of encoder tokens, in fractions of the padded input."""

from collections.abc import Iterable

import torch
from torch import Tensor


def masks_to_boxes(masks: Tensor, pixel_exact: bool = True) -> Tensor:
    """Return the boxes that enclose masks, without a host synchronisation.

    Args:
        masks: (..., h, w) bool.
        pixel_exact: If True, a box ends behind its last pixel and an empty mask gives zeros, as in detectron2's
            ``BitMasks``. If False, a box ends on its last pixel and an empty mask gives (1, 1, 0, 0), as in the
            original's ``mask2box`` after clamping. Released weights depend on the difference.

    Returns:
        (..., 4) cxcywh in [0, 1].
    """
    height, width = masks.shape[-2:]
    x1, x2 = _extent(masks.any(-2))
    y1, y2 = _extent(masks.any(-1))
    empty = (x2 < 0)[..., None]  # (..., 1)
    if pixel_exact:
        x2, y2 = x2 + 1, y2 + 1
    center_x = (x1 + x2) / 2 / width
    center_y = (y1 + y2) / 2 / height
    center = torch.stack((center_x, center_y), -1)  # (..., 2)
    center = center.masked_fill(empty, 0.0 if pixel_exact else 1.0)
    size = torch.stack(((x2 - x1) / width, (y2 - y1) / height), -1)
    size = size.masked_fill(empty, 0.0)
    return torch.cat((center, size), -1)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and last index (...,) where ``occupied`` (..., n) holds; the last is -1 if it never does."""
    size = occupied.shape[-1]
    index = torch.arange(size, device=occupied.device)
    first = torch.where(occupied, index, size).amin(-1)
    last = torch.where(occupied, index, -1).amax(-1)
    return first, last


def token_centers(sizes: Iterable[tuple[int, int]], device: torch.device) -> Tensor:
    """Return the centres (L, 2), xy in [0, 1], of the cells of levels of (h, w) ``sizes``, row by row."""
    centers = []
    for height, width in sizes:
        y, x = _grid(height, width, device)  # (h, w) each
        centers.append(torch.stack((x.flatten(), y.flatten()), -1))
    return torch.cat(centers)


def _grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return y[:, None].expand(height, width), x[None].expand(height, width)
