"""Masks without the pixels that lie far from their boxes."""

import torch
from torch import Tensor


def remove_stray_pixels(masks: Tensor, boxes: Tensor, window: float) -> Tensor:
    """Return masks without the pixels far from their boxes, which would make the boxes of the masks too large.

    A mask stays as it is if less than half of its pixels are near its box, since the box then says little about it.

    Args:
        masks: (..., h, w) bool.
        boxes: (..., 4) cxcywh in [0, 1].
        window: Sides of the window around the centre of a box, as a multiple of the box's sides. The pixels that it
            overlaps are near.

    Returns:
        (..., h, w) bool.
    """
    center_x, center_y, box_width, box_height = boxes.unbind(-1)
    height, width = masks.shape[-2:]
    columns = _overlaps(center_x, box_width * window, width)  # (..., w)
    rows = _overlaps(center_y, box_height * window, height)  # (..., h)
    near = masks & rows[..., :, None] & columns[..., None, :]
    # Sums of bool to int64, the default, take a CPU three times as long.
    num_pixels = masks.sum((-2, -1), dtype=torch.int32)
    num_near = near.sum((-2, -1), dtype=torch.int32)
    is_mostly_near = 2 * num_near >= num_pixels
    # onnxruntime cannot choose between tensors of bool, nor TensorRT between bytes.
    chosen = torch.where(is_mostly_near[..., None, None], near.int(), masks.int())
    return chosen.bool()


def check_window(window: float | None, name: str) -> None:
    """Check the window of a config.

    Raises:
        ValueError: It is not positive.
    """
    if window is not None and not window > 0:
        raise ValueError(
            f'{name}={window}: set a number above 0, such as 1.5, or None to keep all pixels'
        )


def _overlaps(center: Tensor, side: Tensor, num_cells: int) -> Tensor:
    """Return which of n equal cells (..., n) of the range from 0 to 1 overlap with intervals (...,)."""
    cells = (torch.arange(num_cells, device=center.device) + 0.5) / num_cells
    distance = (cells - center[..., None]).abs()
    return distance <= side[..., None] / 2 + 0.5 / num_cells
