"""Panoptic results: every pixel goes to one query, every query to one segment."""

from typing import NamedTuple

import torch
from torch import Tensor

from .instances import Pairs
from .resize import ImageSizes, enlarge_rows, split_rows


class Segments(NamedTuple):
    """Segments of one image. No segment is empty."""

    pixels: Tensor  # (height, width) int64 indices into labels, -1 where there is no segment
    labels: list[int]  # of each segment; stuff has one segment per class


class _Owners(NamedTuple):
    """What the competition for the pixels of one image gives, for N pairs."""

    pair: Tensor  # (height, width) int64: the pair whose mask is the strongest
    inside: Tensor  # (height, width) bool: whether the pixel lies inside the mask of this pair
    areas: Tensor  # (N,) int64: pixels of each mask, before the competition


def merge_masks(
    pairs: Pairs, masks: Tensor, sizes: ImageSizes, max_pixels: int, num_things: int, overlap: float
) -> Segments:
    """Let masks compete for pixels, drop masks that lose most of their pixels, and join stuff of the same class.

    Args:
        pairs: N queries that take part. Their scores weight their masks in the competition.
        masks: Logits (Q, h, w) of the padded input.
        max_pixels: Pixels, over all masks, of the largest float map held at once.
        num_things: Labels from here on are stuff.
        overlap: Fraction of its area that a mask has to win.
    """
    count = len(pairs.query)
    if not count:
        return Segments(torch.full(sizes.output, -1, device=masks.device), [])
    owners = _assign_pixels(pairs, masks, sizes, max_pixels)
    won = owners.pair.flatten().bincount(minlength=count)
    visible = owners.pair[owners.inside].bincount(minlength=count)
    wins_enough = won.double() / owners.areas >= overlap
    is_segment = wins_enough & (owners.areas > 0) & (visible > 0)
    segment_of_pair, labels = _number_segments(
        pairs.labels.tolist(), is_segment.tolist(), num_things
    )
    pixels = torch.tensor(segment_of_pair, device=masks.device)[owners.pair]
    return Segments(pixels.masked_fill_(~owners.inside, -1), labels)


def _assign_pixels(pairs: Pairs, masks: Tensor, sizes: ImageSizes, max_pixels: int) -> _Owners:
    """Give every pixel to the pair with the highest product of score and mask probability."""
    count = len(pairs.query)
    pair = torch.empty(sizes.output, dtype=torch.int64, device=masks.device)
    inside = torch.empty(sizes.output, dtype=torch.bool, device=masks.device)
    areas = torch.zeros(count, dtype=torch.int64, device=masks.device)
    for rows in split_rows(count, sizes, max_pixels):
        probability = enlarge_rows(masks, sizes, rows, pairs.query).sigmoid_()  # (rows, width, N)
        solid = probability >= 0.5
        # int64, the default, takes a CPU twice as long.
        areas += solid.sum((0, 1), dtype=torch.int32)
        # max finds the index faster than argmax does.
        pair[rows] = probability.mul_(pairs.scores).max(-1).indices
        inside[rows] = solid.gather(-1, pair[rows][..., None])[..., 0]
    return _Owners(pair, inside, areas)


def _number_segments(
    labels: list[int], is_segment: list[bool], num_things: int
) -> tuple[list[int], list[int]]:
    """Number the segments of N pairs.

    Returns:
        The segment of every pair, -1 if it has none, and the label of every segment.
    """
    segment_of_pair: list[int] = []
    segment_labels: list[int] = []
    segment_of_stuff: dict[int, int] = {}
    for label, has_segment in zip(labels, is_segment, strict=True):
        if not has_segment:
            segment_of_pair.append(-1)
            continue
        segment = segment_of_stuff.get(label, len(segment_labels))
        if segment == len(segment_labels):
            segment_labels.append(label)
        if label >= num_things:
            segment_of_stuff[label] = segment
        segment_of_pair.append(segment)
    return segment_of_pair, segment_labels
