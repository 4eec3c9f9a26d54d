"""The sizes that one image goes through, and how masks and boxes are brought from one to the next."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class ImageSizes(NamedTuple):
    """The sizes (height, width) that one image goes through."""

    padded: tuple[int, int]  # the input of the network
    resized: tuple[int, int]  # the input without padding
    output: tuple[int, int]  # the results


def enlarge_masks(masks: Tensor, sizes: ImageSizes) -> Tensor:
    """Bring mask logits (N, h, w) of the padded input to the output size, in the two steps of the original.

    Returns:
        (N, height, width); not contiguous where padding is cut off and nothing else is done.
    """
    # The masks are a batch of images with one channel: with one thread, three channels take three times as long.
    images = masks[:, None]
    images = F.interpolate(images, sizes.padded, mode='bilinear', align_corners=False)
    height, width = sizes.resized
    images = images[..., :height, :width]
    if sizes.output != sizes.resized:
        images = F.interpolate(images, sizes.output, mode='bilinear', align_corners=False)
    return images[:, 0]


def split_rows(num_masks: int, sizes: ImageSizes, max_pixels: int) -> Iterator[slice]:
    """Cut the rows of the output into strips of at most ``max_pixels`` pixels over all masks, or of one row."""
    # Where the output is smaller than the input, a row is made from more than one row of the input.
    num_rows = sizes.output[0]
    rows_of_input = max(1, sizes.resized[0] / num_rows)
    width = max(sizes.padded[1] * rows_of_input, sizes.output[1])
    pixels_of_a_row = max(1, num_masks * width)
    height = max(1, int(max_pixels / pixels_of_a_row))
    for start in range(0, num_rows, height):
        stop = min(start + height, num_rows)
        yield slice(start, stop)


def enlarge_rows(
    masks: Tensor, sizes: ImageSizes, rows: slice, query: Tensor | None = None
) -> Tensor:
    """Return some rows of what :func:`enlarge_masks` returns, up to rounding, and compute no others.

    Bilinear interpolation is separable. Both steps are taken along the height first, so that only the rows that are
    needed are made wide. The masks of a pixel lie side by side: a CPU interpolates them as one vector.

    Args:
        masks: Logits (Q, h, w) of the padded input.
        rows: Rows of the output.
        query: Indices (N,) of the masks to enlarge; all of them without it. Other masks are not copied.

    Returns:
        (rows, width, N).
    """
    to_output = _find_neighbours(sizes.resized[0], sizes.output[0], rows, masks)
    to_padded = _find_neighbours(masks.shape[1], sizes.padded[0], to_output.needed, masks)
    needed = masks[:, to_padded.needed]
    if query is not None:
        needed = needed[query]
    pixels = needed.permute(1, 2, 0).contiguous()  # (rows of the masks, w, N)
    padded_rows = to_padded.interpolate(pixels)
    output_rows = to_output.interpolate(padded_rows)
    padded_width = _enlarge_width(output_rows, sizes.padded[1])
    resized_width = padded_width[:, : sizes.resized[1]]
    return _enlarge_width(resized_width, sizes.output[1])


def _enlarge_width(masks: Tensor, width: int) -> Tensor:
    """Interpolate (rows, w, N) to (rows, width, N)."""
    if masks.shape[1] == width:
        return masks
    # Every row is an image (N, 1, w). In memory its channels come last, which is the fast layout.
    rows = masks.permute(0, 2, 1)
    images = rows[:, :, None]
    images = F.interpolate(images, (1, width), mode='bilinear', align_corners=False)
    return images[:, :, 0].permute(0, 2, 1)


class _Neighbours(NamedTuple):
    """For R rows of an enlarged map: the two rows of the source that each lies between."""

    needed: slice  # the rows of the source that are used
    upper: Tensor  # (R,) indices into the needed rows
    lower: Tensor  # (R,)
    weight: Tensor  # (R, 1, 1) of the lower row

    def interpolate(self, masks: Tensor) -> Tensor:
        """Interpolate R rows from the needed rows (rows, w, N)."""
        return torch.lerp(
            masks.index_select(0, self.upper), masks.index_select(0, self.lower), self.weight
        )


def _find_neighbours(source: int, target: int, rows: slice, like: Tensor) -> _Neighbours:
    """Find what ``rows`` of ``target`` rows are made of, given ``source`` rows, as with ``align_corners=False``.

    The CPU computes this, so that it need not wait for a device to learn which rows are needed.

    Args:
        like: A tensor of the dtype and device of the masks.
    """
    centers = torch.arange(rows.start, rows.stop) + 0.5
    position = centers * (source / target) - 0.5
    position = position.clamp(min=0)
    upper = position.long()
    lower = (upper + 1).clamp(max=source - 1)
    first = int(upper[0])
    stop = int(lower[-1]) + 1
    weight = position - upper
    weight = weight[:, None, None].to(like, non_blocking=True)
    indices = torch.stack((upper, lower)) - first
    upper, lower = indices.to(like.device, non_blocking=True)  # one transfer for both
    return _Neighbours(slice(first, stop), upper, lower, weight)


def scale_boxes(boxes: Tensor, sizes: ImageSizes) -> Tensor:
    """Bring cxcywh boxes (N, 4), fractions of the padded input, to xyxy in pixels of the output."""
    # The size of the padded input in pixels of the output.
    padded, resized, output = sizes
    height = padded[0] / resized[0] * output[0]
    width = padded[1] / resized[1] * output[1]
    center_x, center_y, box_width, box_height = boxes.unbind(-1)
    left = (center_x - box_width / 2) * width
    top = (center_y - box_height / 2) * height
    right = (center_x + box_width / 2) * width
    bottom = (center_y + box_height / 2) * height
    return torch.stack((left, top, right, bottom), -1)
