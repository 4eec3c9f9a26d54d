"""The sizes that one image goes through, and what brings masks and boxes from one to the next."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class ImageSizes(NamedTuple):
    """The sizes (height, width) that one image goes through."""

    padded: tuple[int, int]  # what the network sees
    resized: tuple[int, int]  # without the padding
    output: tuple[int, int]  # what results are asked for at


def enlarge(masks: Tensor, sizes: ImageSizes) -> Tensor:
    """Bring mask logits (N, h, w) of the padded input to the output size, in the two steps of the original."""
    masks = F.interpolate(masks[None], sizes.padded, mode='bilinear', align_corners=False)
    masks = masks[..., : sizes.resized[0], : sizes.resized[1]]
    return F.interpolate(masks, sizes.output, mode='bilinear', align_corners=False)[0]


def strips(num_masks: int, sizes: ImageSizes, max_pixels: int) -> Iterator[slice]:
    """Cut the rows of the output so that a strip of all masks has at most ``max_pixels`` pixels, or one row."""
    # A row of the output is made from more than one before, where results are smaller than the input.
    before = sizes.padded[1] * max(1, sizes.resized[0] / sizes.output[0])
    height = max(1, int(max_pixels / max(1, num_masks * max(before, sizes.output[1]))))
    for start in range(0, sizes.output[0], height):
        yield slice(start, min(start + height, sizes.output[0]))


def enlarge_rows(masks: Tensor, sizes: ImageSizes, rows: slice, query: Tensor | None = None) -> Tensor:
    """Return rows of what :func:`enlarge` returns, (rows, width, N), up to rounding, and compute no others.

    Bilinear interpolation is separable: both steps are taken for the rows first, so that few of them are made wide.
    All masks of a pixel lie side by side, which is what a CPU interpolates fast: by whole vectors.

    Args:
        query: Which masks are wanted, (N,) indices; the others are not even copied.
    """
    between = _Rows.of(sizes.resized[0], sizes.output[0], rows, masks)
    first = _Rows.of(masks.shape[1], sizes.padded[0], between.needed, masks)
    masks = masks[:, first.needed]
    masks = (masks if query is None else masks[query]).permute(1, 2, 0).contiguous()
    masks = between.pick(first.pick(masks))
    return _widen(_widen(masks, sizes.padded[1])[:, : sizes.resized[1]], sizes.output[1])


def _widen(masks: Tensor, width: int) -> Tensor:
    if masks.shape[1] == width:
        return masks
    lines = masks.permute(0, 2, 1)[:, :, None]  # (rows, N, 1, w): images of one row, in memory with channels last
    return F.interpolate(lines, (1, width), mode='bilinear', align_corners=False)[:, :, 0].permute(0, 2, 1)


class _Rows(NamedTuple):
    """Which two rows of its source every row of an enlarged map lies between, and how near to the second it is.

    The host finds them, so that no device has to be asked which rows are needed.
    """

    needed: slice  # of the source
    low: Tensor  # (R,) indices among those
    high: Tensor  # (R,)
    weight: Tensor  # (R, 1, 1) of the second

    @classmethod
    def of(cls, source: int, target: int, rows: slice, like: Tensor) -> '_Rows':
        """Interpolate ``rows`` of ``target`` rows from ``source`` rows, as with ``align_corners=False``."""
        position = ((torch.arange(rows.start, rows.stop) + 0.5) * (source / target) - 0.5).clamp(min=0)
        low = position.long()
        high = (low + 1).clamp(max=source - 1)
        needed = slice(int(low[0]), int(high[-1]) + 1)
        weight = (position - low)[:, None, None].to(like, non_blocking=True)
        low, high = (torch.stack((low, high)) - needed.start).to(like.device, non_blocking=True)
        return cls(needed, low, high, weight)

    def pick(self, masks: Tensor) -> Tensor:
        """Interpolate the rows needed of masks (rows, w, N)."""
        return torch.lerp(masks.index_select(0, self.low), masks.index_select(0, self.high), self.weight)


def scale_boxes(boxes: Tensor, sizes: ImageSizes) -> Tensor:
    """Bring cxcywh boxes (N, 4), fractions of the padded input, to xyxy in pixels of the output."""
    height, width = (p / r * o for p, r, o in zip(*sizes, strict=True))
    center, extent = boxes[..., :2], boxes[..., 2:]
    return torch.cat((center - extent / 2, center + extent / 2), -1) * boxes.new_tensor([width, height, width, height])
