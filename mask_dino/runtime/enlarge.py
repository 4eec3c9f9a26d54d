"""Enlarging mask logits from stride 4 to the size of an image, a few rows at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

STRIP_PIXELS = 2**18
"""Pixels that are enlarged at once: a few maps of float32 then fit the cache of a core."""


class ImageSizes(NamedTuple):
    """The sizes (height, width) that one image goes through."""

    padded: tuple[int, int]  # what the network sees
    resized: tuple[int, int]  # without the padding
    output: tuple[int, int]  # what results are asked for at


class Stencil(NamedTuple):
    """Linear interpolation along one axis: each target pixel is a weighted sum of neighbouring source pixels."""

    start: np.ndarray  # (n,) the first source pixel of each target pixel; it never falls
    weight: np.ndarray  # (n, taps) float32

    @property
    def taps(self) -> int:
        """Source pixels of each target pixel."""
        return self.weight.shape[1]

    def cut(self, targets: slice) -> 'Stencil':
        """Keep some of the target pixels."""
        return Stencil(self.start[targets], self.weight[targets])

    def source(self, size: int) -> slice:
        """Return which of ``size`` source pixels are needed."""
        return slice(int(self.start[0]), min(int(self.start[-1]) + self.taps, size))

    def reached(self, first: int, last: int) -> slice:
        """Return the target pixels that depend on the source pixels from ``first`` to ``last``."""
        begin = np.searchsorted(self.start, first - self.taps + 1)
        end = np.searchsorted(self.start, last, side='right')
        return slice(int(begin), int(end))

    def apply(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Interpolate along an axis, -1 or -2, of values (..., h, w), which begin with the first that is needed."""
        shape = (-1, 1) if axis == -2 else (-1,)
        start = self.start - self.start[0]
        result: np.ndarray | None = None
        for tap in range(self.taps):
            index = np.minimum(start + tap, values.shape[axis] - 1)
            part = np.take(values, index, axis=axis)
            part *= self.weight[:, tap].reshape(shape)
            result = part if result is None else np.add(result, part, out=result)
        assert result is not None
        return result


def make_stencil(source: int, target: int, align_corners: bool = False) -> Stencil:
    """Return the stencil of torch's bilinear interpolation from ``source`` to ``target`` pixels."""
    pixels = np.arange(target)
    if align_corners:
        position = pixels * ((source - 1) / max(target - 1, 1))
    else:
        position = np.maximum((pixels + 0.5) * (source / target) - 0.5, 0)
    start = np.minimum(position.astype(np.int64), source - 1)
    fraction = np.where(start < source - 1, position - start, 0)
    return Stencil(start, np.stack((1 - fraction, fraction), -1).astype(np.float32))


def join_stencils(first: Stencil, second: Stencil) -> Stencil:
    """Return one stencil for two steps, so that the values between them are never held."""
    between = second.start[:, None] + np.arange(second.taps)
    between = np.minimum(between, len(first.start) - 1)  # (n, taps)
    start = first.start[between]
    offset = start - start[:, :1]
    taps = int(offset.max()) + first.taps
    weight = np.zeros((len(start), taps), np.float32)
    rows = np.arange(len(start))[:, None]
    for tap in range(first.taps):
        shares = second.weight * first.weight[between, tap]
        np.add.at(weight, (rows, offset + tap), shares)
    return Stencil(start[:, 0], weight)


class Enlargement(NamedTuple):
    """How mask logits (h, w) at stride 4 are enlarged to the size of the output, in the two steps of the original."""

    rows: Stencil
    columns: Stencil

    @classmethod
    def between(cls, masks: tuple[int, int], sizes: ImageSizes) -> 'Enlargement':
        """Go from the size of ``masks`` (h, w) to the padded size, cut the padding, and go to the output size."""
        axes = zip(masks, *sizes, strict=True)
        return cls(
            *(
                _two_steps(source, padded, resized, output)
                for source, padded, resized, output in axes
            )
        )

    def part(self, masks: np.ndarray, rows: slice, columns: slice = slice(None)) -> np.ndarray:
        """Return a part (..., rows, columns) of the enlarged masks (..., h, w)."""
        across = self.columns.cut(columns)
        down = self.rows.cut(rows)
        height, width = masks.shape[-2:]
        needed = masks[..., down.source(height), across.source(width)]
        return down.apply(across.apply(needed, -1), -2)


def _two_steps(source: int, padded: int, resized: int, output: int) -> Stencil:
    first = make_stencil(source, padded).cut(slice(0, resized))
    return first if resized == output else join_stencils(first, make_stencil(resized, output))


def split_strips(height: int, width: int, max_pixels: int = STRIP_PIXELS) -> Iterator[slice]:
    """Cut the rows of a map so that a strip has at most ``max_pixels`` pixels, or one row."""
    step = max(1, max_pixels // max(1, width))
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return the logistic function of float32 values (..., N), which are overwritten."""
    np.negative(values, out=values)
    np.minimum(values, 80, out=values)  # exp of more is infinite, with a warning
    np.exp(values, out=values)
    values += 1
    return np.reciprocal(values, out=values)
