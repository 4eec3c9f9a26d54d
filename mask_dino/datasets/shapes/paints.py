"""Colours of surfaces: those of stuff are its own, those of things say nothing of their class."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np


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
    """Draw colours of a kind of stuff, as they are in nature."""
    return _around(rng, _draw(rng, NATURAL[stuff], 1)[0], spread)


def contrasting_paint(rng: np.random.Generator, others: Sequence[Paint], spread: float) -> Paint:
    """Draw colours that stand out, sometimes barely, from those already in the picture."""
    contrast = rng.uniform(0.3, 0.6)  # RGB distance
    candidates = _draw(rng, ANY, 16)
    used = np.array([(p.dark + p.light) / 2 for p in others]).reshape(-1, 1, 3)
    distance = np.linalg.norm(candidates - used, axis=2).min(axis=0, initial=2.0)
    far = distance >= contrast
    return _around(rng, candidates[far.argmax() if far.any() else distance.argmax()], spread)


def _draw(rng: np.random.Generator, colours: Range, count: int) -> np.ndarray:
    """Random RGB colours, (count, 3)."""
    drawn = rng.uniform(*colours, size=(count, 3)).astype(np.float32)
    return cv2.cvtColor(drawn[None], cv2.COLOR_HSV2RGB)[0]


def _around(rng: np.random.Generator, mean: np.ndarray, spread: float) -> Paint:
    shift = rng.uniform(0.5, 1, size=3) * spread / 2
    return Paint(mean - shift, mean + shift)
