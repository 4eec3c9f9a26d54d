"""Textures: light and dark on a surface, whatever its outline.

A pattern maps local coordinates, (H, W) within about [-1, 1] on the surface, to values in [0, 1] that mix two colours.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

Pattern = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """A (size, size) random field of about unit variance whose bumps are ``size / cells`` pixels wide."""
    field = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)


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
