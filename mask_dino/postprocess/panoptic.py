"""Panoptic results: every pixel goes to one query, every query to one segment."""

from typing import NamedTuple

import torch
from torch import Tensor

from .instances import Pairs
from .resize import ImageSizes, enlarge_rows, strips


class Segments(NamedTuple):
    """Segments of one image, none of them empty."""

    pixels: Tensor  # (height, width) int64 indices into labels, -1 where there is no segment
    labels: list[int]  # of each segment; stuff has one segment per class


class _Owners(NamedTuple):
    pair: Tensor  # (height, width) int64: the pair whose mask is the strongest
    inside: Tensor  # (height, width) bool: whether the pixel lies inside that mask
    areas: Tensor  # (N,) int64 pixels of each mask, whoever owns them


def merge(pairs: Pairs, masks: Tensor, sizes: ImageSizes, max_pixels: int, num_things: int, overlap: float) -> Segments:
    """Let masks compete for pixels, drop those that lose most of theirs, and join stuff of the same class.

    Args:
        pairs: N queries that take part, with the weights of their masks in the competition as scores.
        masks: Logits (Q, h, w) of the padded input.
        max_pixels: Pixels, over all masks, of the largest float map held at once.
        num_things: Labels from here on are stuff.
        overlap: Share of its area that a mask has to win.
    """
    count = len(pairs.query)
    if not count:
        return Segments(torch.full(sizes.output, -1, device=masks.device), [])
    owners = _compete(pairs, masks, sizes, max_pixels)
    won = owners.pair.flatten().bincount(minlength=count)
    visible = owners.pair[owners.inside].bincount(minlength=count)
    kept = (won.double() / owners.areas >= overlap) & (owners.areas > 0) & (visible > 0)
    segments, found = _number(pairs.labels.tolist(), kept.tolist(), num_things)
    index = torch.tensor(segments, device=masks.device)[owners.pair]
    return Segments(index.masked_fill_(~owners.inside, -1), found)


def _compete(pairs: Pairs, masks: Tensor, sizes: ImageSizes, max_pixels: int) -> _Owners:
    count = len(pairs.query)
    pair = torch.empty(sizes.output, dtype=torch.int64, device=masks.device)
    inside = torch.empty(sizes.output, dtype=torch.bool, device=masks.device)
    areas = torch.zeros(count, dtype=torch.int64, device=masks.device)
    for rows in strips(count, sizes, max_pixels):
        probability = enlarge_rows(masks, sizes, rows, pairs.query).sigmoid_()
        solid = probability >= 0.5
        areas += solid.sum((0, 1), dtype=torch.int32)  # int64 takes a CPU twice as long
        pair[rows] = probability.mul_(pairs.scores).max(-1).indices  # as does argmax
        inside[rows] = solid.gather(-1, pair[rows][..., None])[..., 0]
    return _Owners(pair, inside, areas)


def _number(labels: list[int], kept: list[bool], num_things: int) -> tuple[list[int], list[int]]:
    """Return the segment of every query, -1 where it is dropped, and the label of every segment."""
    segments, found = list[int](), list[int]()
    stuff = dict[int, int]()
    for label, keep in zip(labels, kept, strict=True):
        known = stuff.get(label, len(found))
        if keep and known == len(found):
            found.append(label)
            stuff |= {label: known} if label >= num_things else {}
        segments.append(known if keep else -1)
    return segments, found
