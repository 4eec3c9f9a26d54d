"""Semantic maps: every query votes for its classes where its mask is."""

from collections.abc import Callable, Iterator

import numpy as np

from .enlarge import Enlargement, ImageSizes, make_stencil, sigmoid, split_strips
from .metadata import Window

Scores = Callable[[slice], np.ndarray]
"""Returns the scores (rows, W, K) of the classes for rows of the padded image."""


def make_semantic(
    probabilities: np.ndarray, masks: np.ndarray, sizes: ImageSizes, max_pixels: int
) -> np.ndarray:
    """Return the class (height, width) int32 of every pixel.

    Args:
        probabilities: Of the classes (Q, K) of each query.
        masks: Logits (Q, h, w) of the padded input.
        max_pixels: Pixels, over all masks or classes, of the largest float map held at once.
    """
    labels = np.empty(sizes.output, np.int32)
    scores = score_pixels(probabilities, masks, sizes)
    for rows in split_strips(*sizes.output, max_pixels // max(probabilities.shape)):
        labels[rows] = scores(rows).argmax(-1)
    return labels


def score_pixels(probabilities: np.ndarray, masks: np.ndarray, sizes: ImageSizes) -> Scores:
    """Return a function that computes the scores (rows, width, K) of rows of the output.

    The arguments are the same as for :func:`make_semantic`: probabilities (Q, K) and masks (Q, h, w).
    """
    enlargement = Enlargement.between(masks.shape[-2:], sizes)

    def score(rows: slice) -> np.ndarray:
        inside = sigmoid(enlargement.part(masks, rows))  # (Q, rows, width)
        votes = inside.reshape(len(inside), -1).T @ probabilities
        return votes.reshape(-1, sizes.output[1], probabilities.shape[1])

    return score


def resize_scores(
    scores: Scores, sizes: ImageSizes, num_classes: int, max_pixels: int, align_corners: bool
) -> np.ndarray:
    """Return the class (height, width) int32 of every pixel, from scores at the size of the padded input.

    MMSegmentation resizes the scores, not the masks, to the size of the image.

    Args:
        sizes: The padding is cut off the scores before they are resized.
        max_pixels: See :func:`make_semantic`.
    """
    labels = np.empty(sizes.output, np.int32)
    down, across = (
        make_stencil(resized, output, align_corners)
        for resized, output in zip(sizes.resized, sizes.output, strict=True)
    )
    # A row of the output is made from more than one row of scores where the image is larger than the output.
    width = max(sizes.padded[1] * sizes.resized[0] / sizes.output[0], sizes.output[1])
    for rows in split_strips(sizes.output[0], int(width), max_pixels // num_classes):
        part = down.cut(rows)
        near = scores(part.source(sizes.resized[0]))
        near = near[:, across.source(sizes.resized[1])].transpose(2, 0, 1)
        resized = part.apply(across.apply(near, -1), -2)  # (K, rows, width)
        labels[rows] = resized.argmax(0)
    return labels


def average_windows(
    windows: Iterator[tuple[tuple[slice, slice], np.ndarray]],
    size: tuple[int, int],
    num_classes: int,
) -> np.ndarray:
    """Return the mean scores (H, W, K) of overlapping windows.

    Args:
        windows: The place and the scores (h, w, K) of each.
        size: Height and width of the padded image.
    """
    total = np.zeros((*size, num_classes), np.float32)
    count = np.zeros((*size, 1), np.float32)
    for place, scores in windows:
        total[place] += scores
        count[place] += 1
    total /= count
    return total


def place_windows(size: tuple[int, int], window: Window) -> Iterator[tuple[slice, slice]]:
    """Yield the windows (rows, columns) that cover an image of ``size`` (height, width), as MMSegmentation does."""
    axes = zip(size, window.crop, window.stride, strict=True)
    rows, columns = (_place(length, crop, stride) for length, crop, stride in axes)
    for row in rows:
        for column in columns:
            yield row, column


def _place(length: int, crop: int, stride: int) -> list[slice]:
    """Return the windows along one axis; the last is moved back into the image."""
    count = -(-max(length - crop, 0) // stride) + 1
    ends = [min(index * stride + crop, length) for index in range(count)]
    return [slice(max(end - crop, 0), end) for end in ends]
