"""Reorders what the original stores in another order: levels of the encoder, and pixels that Swin merges."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from .loading import CheckpointError
from .maskdino_names import PIXEL_DECODER, PREDICTOR

PER_LEVEL = r'(sampling_offsets|attention_weights)\.(weight|bias)'
ENCODER_ATTENTION = (
    rf'{re.escape(PIXEL_DECODER)}\.transformer\.encoder\.layers\.\d+\.self_attn\.{PER_LEVEL}'
)
DECODER_ATTENTION = rf'{re.escape(PREDICTOR)}\.decoder\.layers\.\d+\.cross_attn\.{PER_LEVEL}'
SWIN_MERGING = r'backbone\.layers\.\d+\.downsample\.(reduction\.weight|norm\.(weight|bias))'


class Levels(NamedTuple):
    """The levels of the original's encoder, in the order of the original.

    Its encoder has them from fine to coarse (``FEATURE_ORDER: low2high``) or from coarse to fine (``high2low``), and
    its decoder has the reverse order. Here the order is always from fine to coarse.
    """

    channels: tuple[int, ...]  # of the backbone maps, which the first input projections read
    num_extra: int  # levels after them, made by strided convolutions of the coarsest map

    @property
    def total(self) -> int:
        """The number of levels of the encoder."""
        return len(self.channels) + self.num_extra

    @property
    def coarse_first(self) -> bool:
        """Whether the encoder has the coarse levels first; a coarser map has more channels."""
        return self.channels[0] > self.channels[-1]

    @property
    def anchor_sizes(self) -> tuple[float, ...]:
        """The side of the square proposals, fine to coarse; the original doubles it level by level in its decoder."""
        # These are exact: a power of two keeps the digits.
        sizes = [0.05 * 2**level for level in range(self.total)]
        return tuple(sizes if self.coarse_first else reversed(sizes))

    def __str__(self) -> str:
        order = 'coarse to fine (high2low)' if self.coarse_first else 'fine to coarse (low2high)'
        is_shown = len(set(self.channels)) > 1
        reason = 'assumed: no channels show it'
        if is_shown:
            reason = 'as the channels of their projections show'
        return f'{order}, {reason}'


def read_levels(state: Mapping[str, Tensor]) -> Levels:
    """Read the levels from the shapes of the input projections, (channels, backbone channels, size, size).

    Raises:
        CheckpointError: There is no projection, or the levels cannot be converted.
    """
    projection = re.compile(rf'{re.escape(PIXEL_DECODER)}\.input_proj\.(\d+)\.0\.weight')
    matches = {name: projection.fullmatch(name) for name in state}
    numbers = {int(match[1]): name for name, match in matches.items() if match}
    shapes = [state[numbers[level]].shape for level in sorted(numbers)]
    channels = tuple(shape[1] for shape in shapes if shape[-1] == 1)
    if not channels:
        missing = f'{PIXEL_DECODER}.input_proj.0.0.weight'
        raise CheckpointError(
            f'not a Mask DINO in the naming of the original: there is no {missing}'
        )
    num_extra = len(shapes) - len(channels)
    if num_extra > 1:
        raise CheckpointError(
            f'{num_extra} encoder levels beyond the backbone cannot be converted: the original mixes '
            'up the positional encodings of two or more such levels, and this implementation does not'
        )
    return Levels(channels, num_extra)


def reorder_tensors(
    state: Mapping[str, Tensor], levels: Levels, num_heads: int, reverse: bool = False
) -> dict[str, Tensor]:
    """Bring the levels to the order from fine to coarse, and merged pixels to mmdet's order, under the original names.

    A tensor whose shape does not fit is left as it is, and the comparison with the model reports it.

    Args:
        num_heads: Heads of the deformable attention, which the shapes do not show.
        reverse: Whether to undo it. Reversed twice, levels are as before, so only the pixels need an inverse.
    """
    flipped = re.compile(ENCODER_ATTENTION if levels.coarse_first else DECODER_ATTENTION)
    merging = re.compile(SWIN_MERGING)
    reordered = {}
    for name, value in state.items():
        if flipped.fullmatch(name):
            value = _flip_levels(value, num_heads, levels.total)
        elif merging.fullmatch(name):
            value = _restore_pixels(value) if reverse else reorder_pixels(value)
        elif levels.coarse_first and name == f'{PIXEL_DECODER}.transformer.level_embed':
            value = value.flip(0)
        new_name = _projection_name(name, levels)
        reordered[new_name] = value
    return reordered


def _projection_name(name: str, levels: Levels) -> str:
    """Renumber the projection of a backbone map; the projections of extra levels come last in either order."""
    match = re.fullmatch(rf'({re.escape(PIXEL_DECODER)}\.input_proj)\.(\d+)\.(.+)', name)
    if match is None or not levels.coarse_first:
        return name
    prefix, level, parameter = match.groups()
    num_maps = len(levels.channels)
    if int(level) >= num_maps:
        return name
    return f'{prefix}.{num_maps - 1 - int(level)}.{parameter}'


def _flip_levels(value: Tensor, num_heads: int, num_levels: int) -> Tensor:
    """Flip the level axis of (heads * levels * ..., ...) rows."""
    if len(value) % (num_heads * num_levels):
        return value
    return value.unflatten(0, (num_heads, num_levels, -1)).flip(1).flatten(0, 2)


def reorder_pixels(value: Tensor) -> Tensor:
    """Bring (..., 4 pixels * channels) to (..., channels * 4 pixels), rows first, as mmdet's ``PatchMerging`` unfolds.

    Swin concatenates the pixels of a 2 x 2 square column by column.
    """
    if value.shape[-1] % 4:
        return value
    by_columns = value.unflatten(-1, (4, -1))  # (..., pixels, channels)
    by_rows = by_columns[..., [0, 2, 1, 3], :]
    return by_rows.transpose(-1, -2).flatten(-2)


def _restore_pixels(value: Tensor) -> Tensor:
    """Undo :func:`reorder_pixels`."""
    by_rows = value.unflatten(-1, (-1, 4)).transpose(-1, -2)  # (..., pixels, channels)
    by_columns = by_rows[..., [0, 2, 1, 3], :]
    return by_columns.flatten(-2)
