"""Colours and textures: what a surface looks like, whatever its outline.

A pattern maps local coordinates, (H, W) within about [-1, 1] on the surface, to values in [0, 1] that mix two colours.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

Pattern = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


class Paint(NamedTuple):
    """Two RGB colours in [0, 1] that a pattern blends."""

    dark: np.ndarray
    light: np.ndarray


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """A (size, size) random field of about unit variance whose bumps are ``size / cells`` pixels wide."""
    field = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)


def pick_paint(rng: np.random.Generator, others: Sequence[Paint], spread: float) -> Paint:
    """Draw colours that stand out, sometimes barely, from those already in the picture."""
    contrast = rng.uniform(0.22, 0.5)  # RGB distance
    hue, saturation, value = rng.uniform((0, 0.15, 0.25), (360, 0.9, 0.95), size=(16, 3)).astype(np.float32).T
    candidates = cv2.cvtColor(np.stack((hue, saturation, value), axis=1)[None], cv2.COLOR_HSV2RGB)[0]
    used = np.array([(p.dark + p.light) / 2 for p in others]).reshape(-1, 1, 3)
    distance = np.linalg.norm(candidates - used, axis=2).min(axis=0, initial=2.0)
    far = distance >= contrast
    mean = candidates[far.argmax() if far.any() else distance.argmax()]
    shift = rng.uniform(0.5, 1, size=3) * spread / 2
    return Paint(mean - shift, mean + shift)


def flat(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One value everywhere."""
    return np.full_like(u, 0.5)


def gradient(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A ramp in any direction."""
    return np.clip(0.5 + 0.5 * _along(u, v, rng.uniform(0, math.tau)), 0, 1)


def stripes(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Parallel bands in any direction."""
    wave = np.sin(_along(u, v, rng.uniform(0, math.tau)) * rng.uniform(6, 11) + rng.uniform(0, math.tau))
    return 0.5 + 0.5 * np.clip(wave * 1.5, -1, 1)


def speckles(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Scattered spots."""
    return np.clip(smooth_noise(rng, len(u) // 2, len(u)) * 1.5 - 0.8, 0, 1)


def sky(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A smooth ramp with a few soft clouds."""
    return np.clip(gradient(rng, u, v) + 0.1 * smooth_noise(rng, 5, len(u)), 0, 1)


def ground(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Grain of one or two pixels on broad blotches."""
    size = len(u)
    grain = rng.standard_normal((size, size), dtype=np.float32) + smooth_noise(rng, size // 2, size)
    return np.clip(0.5 + 0.2 * grain + 0.1 * smooth_noise(rng, 8, size), 0, 1)


def water(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Wavy stripes, mostly level."""
    size = len(u)
    length = max(rng.uniform(0.05, 0.09), 3.5 / size)  # of the picture; below 3.5 pixels stripes would alias
    along = 0.5 * _along(u, v, rng.normal(math.pi / 2, 0.35)) + 0.02 * smooth_noise(rng, 6, size)
    return 0.5 + 0.5 * np.sin(along * (math.tau / length) + rng.uniform(0, math.tau))


def _along(u: np.ndarray, v: np.ndarray, angle: float) -> np.ndarray:
    return u * math.cos(angle) + v * math.sin(angle)


THING_PATTERNS: tuple[Pattern, ...] = (flat, gradient, stripes, speckles)
STUFF_PATTERNS: tuple[Pattern, ...] = (sky, ground, water)  # in the order of the stuff classes
