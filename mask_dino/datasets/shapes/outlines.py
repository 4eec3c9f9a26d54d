"""Outlines of the things: exact inside tests, which serve any size, rotation and sampling."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

REACH = 1.3  # no outline leaves the circle of this many radii
STAR_TIP, STAR_NOTCH = 1.25, 0.55
RING_HOLE = 0.55


class Form(NamedTuple):
    """One drawn outline; lengths in pixels of the image, x to the right and y down."""

    label: int  # index into THINGS
    x: float
    y: float
    radius: float
    angle: float  # radians
    squeeze: float  # height over width before the rotation, in (0, 1]


def _disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u**2 + v**2 <= 1


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) <= 0.9


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (v <= 0.6) & (np.abs(u) <= (v + 1.2) * 0.58)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    turn = math.pi / 5
    fold = np.abs((np.arctan2(u, -v) + turn) % (2 * turn) - turn)  # ten mirrored sectors become one
    length = np.hypot(u, v)
    along, across = length * np.cos(fold), length * np.sin(fold)
    notch_along, notch_across = STAR_NOTCH * math.cos(turn), STAR_NOTCH * math.sin(turn)
    return (STAR_TIP - along) * notch_across >= (STAR_TIP - notch_along) * across


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    square = u**2 + v**2
    return (square <= 1) & (square >= RING_HOLE**2)


# In the order of THINGS: one function of the two local axes to each.
OUTLINES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (_disc, _square, _triangle, _star, _ring)


def local_axes(form: Form, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of pixels in the form's own frame, where its outline has radius about 1."""
    x, y = (cols[None, :] - form.x) / form.radius, (rows[:, None] - form.y) / form.radius
    cos, sin = math.cos(form.angle), math.sin(form.angle)
    return x * cos + y * sin, (y * cos - x * sin) / form.squeeze


def paint(form: Form, owner: np.ndarray, value: int, samples: int) -> None:
    """Give a form's part of an owner map to ``value``, in place.

    Args:
        owner: (H * samples, W * samples) map with ``samples`` rows and columns to a pixel.
    """
    top, bottom = _span(form.y, form.radius, owner.shape[0], samples)
    left, right = _span(form.x, form.radius, owner.shape[1], samples)
    rows = (np.arange(top, bottom, dtype=np.float32) + 0.5) / samples
    cols = (np.arange(left, right, dtype=np.float32) + 0.5) / samples
    inside = OUTLINES[form.label](*local_axes(form, rows, cols))
    owner[top:bottom, left:right][inside] = value


def _span(centre: float, radius: float, length: int, samples: int) -> tuple[int, int]:
    low, high = (centre - REACH * radius) * samples, (centre + REACH * radius) * samples
    return max(int(low), 0), min(int(high) + 1, length)


class Layer(NamedTuple):
    """Stuff (no forms), one thing (one form) or a crowd (many forms of one class)."""

    label: int  # index into CLASSES
    forms: tuple[Form, ...] = ()
