"""Colours and patterns of surfaces: they show the class of stuff, but not the class of a thing."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from . import THINGS
from .outlines import Form, Layer, local_axes


class Paint(NamedTuple):
    """Two RGB colours in [0, 1] that a pattern blends."""

    dark: np.ndarray
    light: np.ndarray


class Range(NamedTuple):
    """Colours: hue in degrees, saturation and value in [0, 1], each from ``low`` to ``high``."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]


ANY = Range((0, 0.15, 0.25), (360, 0.9, 0.95))
# In the order of the stuff classes: sky, ground, water.
NATURAL = (
    Range((195, 0.15, 0.75), (225, 0.45, 0.95)),
    Range((25, 0.3, 0.3), (95, 0.6, 0.6)),
    Range((195, 0.6, 0.25), (240, 0.9, 0.55)),
)


def natural_paint(rng: np.random.Generator, stuff: int, spread: float) -> Paint:
    """Draw natural colours for a kind of stuff."""
    return _around(rng, _draw(rng, NATURAL[stuff], 1)[0], spread)


def contrasting_paint(rng: np.random.Generator, others: Sequence[Paint], spread: float) -> Paint:
    """Draw colours that differ, sometimes only a little, from the colours already in the picture."""
    contrast = rng.uniform(0.3, 0.6)  # RGB distance
    candidates = _draw(rng, ANY, 16)  # (16, 3)
    means = [(paint.dark + paint.light) / 2 for paint in others]
    used = np.array(means).reshape(-1, 1, 3)
    distances = np.linalg.norm(candidates - used, axis=2)  # (others, 16)
    nearest = distances.min(axis=0, initial=2.0)
    is_far = nearest >= contrast
    best = is_far.argmax() if is_far.any() else nearest.argmax()
    return _around(rng, candidates[best], spread)


def _draw(rng: np.random.Generator, colours: Range, count: int) -> np.ndarray:
    """Return random RGB colours (count, 3)."""
    drawn = rng.uniform(*colours, size=(count, 3)).astype(np.float32)
    return cv2.cvtColor(drawn[None], cv2.COLOR_HSV2RGB)[0]


def _around(rng: np.random.Generator, mean: np.ndarray, spread: float) -> Paint:
    shift = rng.uniform(0.5, 1, size=3) * spread / 2
    return Paint(mean - shift, mean + shift)


Pattern = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Return a random field (size, size) of about unit variance. Its bumps are ``size / cells`` pixels wide."""
    field = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)


def flat(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One value (H, W) everywhere."""
    return np.full_like(u, 0.5)


def gradient(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A ramp (H, W) in any direction."""
    return np.clip(0.5 + 0.5 * _along(u, v, rng.uniform(0, math.tau)), 0, 1)


def stripes(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Parallel bands (H, W) in any direction."""
    along = _along(u, v, rng.uniform(0, math.tau))
    frequency = rng.uniform(6, 11)
    phase = rng.uniform(0, math.tau)
    wave = np.sin(along * frequency + phase)
    steep = np.clip(wave * 1.5, -1, 1)
    return 0.5 + 0.5 * steep


def speckles(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Scattered spots (H, W)."""
    return np.clip(smooth_noise(rng, len(u) // 2, len(u)) * 1.5 - 0.8, 0, 1)


def sky(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A smooth ramp with a few soft clouds, (H, W)."""
    return np.clip(gradient(rng, u, v) + 0.1 * smooth_noise(rng, 5, len(u)), 0, 1)


def ground(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Grain of one or two pixels on broad blotches, (H, W)."""
    size = len(u)
    grain = rng.standard_normal((size, size), dtype=np.float32) + smooth_noise(rng, size // 2, size)
    return np.clip(0.5 + 0.2 * grain + 0.1 * smooth_noise(rng, 8, size), 0, 1)


def water(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Wavy stripes (H, W), mostly level."""
    size = len(u)
    wavelength = rng.uniform(0.05, 0.09)  # as a fraction of the picture
    wavelength = max(wavelength, 3.5 / size)  # stripes of fewer than 3.5 pixels would alias
    direction = rng.normal(math.pi / 2, 0.35)
    straight = 0.5 * _along(u, v, direction)
    along = straight + 0.02 * smooth_noise(rng, 6, size)
    phase = rng.uniform(0, math.tau)
    wave = np.sin(along * (math.tau / wavelength) + phase)
    return 0.5 + 0.5 * wave


def _along(u: np.ndarray, v: np.ndarray, angle: float) -> np.ndarray:
    return u * math.cos(angle) + v * math.sin(angle)


THING_PATTERNS: tuple[Pattern, ...] = (flat, gradient, stripes, speckles)
STUFF_PATTERNS: tuple[Pattern, ...] = (sky, ground, water)  # in the order of the stuff classes


def render_layers(
    rng: np.random.Generator, coverage: np.ndarray, layers: Sequence[Layer]
) -> np.ndarray:
    """Colour every layer and blend them by coverage, which smooths the edges.

    Args:
        coverage: (N, H, W) float: the fraction of each pixel that each layer owns.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    size = coverage.shape[1]
    centres = np.arange(size, dtype=np.float32) + 0.5
    image = np.zeros((3, size, size), np.float32)
    paints: list[Paint] = []
    for layer, share in zip(layers, coverage, strict=True):
        u, v = local_axes(_surface(layer, size), centres, centres)
        draw_pattern = _pattern(rng, layer)
        blend = draw_pattern(rng, u, v)  # (H, W) in [0, 1]: from the dark to the light colour
        paint = _paint(rng, layer, paints)
        paints.append(paint)
        dark, light = np.array(paint, np.float32)[:, :, None, None]  # (3, 1, 1) each
        image += share * dark + share * blend * (light - dark)
    colours = np.rint(np.clip(image, 0, 1) * 255)
    rgb = colours.astype(np.uint8)
    return rgb.transpose(1, 2, 0)


def _surface(layer: Layer, size: int) -> Form:
    """Return the form whose frame the pattern follows: the thing itself, else a disc as large as the picture."""
    half = size / 2
    return layer.forms[0] if len(layer.forms) == 1 else Form(0, half, half, half, 0, 1)


def _paint(rng: np.random.Generator, layer: Layer, others: Sequence[Paint]) -> Paint:
    spread = rng.uniform(0.15, 0.35)
    if layer.forms:
        return contrasting_paint(rng, others, spread)
    stuff = layer.label - len(THINGS)
    return natural_paint(rng, stuff, spread)


def _pattern(rng: np.random.Generator, layer: Layer) -> Pattern:
    """Return the pattern of the class of stuff, or any pattern of things."""
    if layer.forms:
        return THING_PATTERNS[rng.integers(len(THING_PATTERNS))]
    return STUFF_PATTERNS[layer.label - len(THINGS)]
