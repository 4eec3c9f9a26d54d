"""Outlines of the things: exact tests of which points are inside, for any size, rotation and sampling."""

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
    angle = np.arctan2(u, -v)
    fold = np.abs((angle + turn) % (2 * turn) - turn)  # ten mirrored sectors become one
    length = np.hypot(u, v)
    along = length * np.cos(fold)
    across = length * np.sin(fold)
    # In this sector the outline is the line from the tip to the notch.
    notch_along = STAR_NOTCH * math.cos(turn)
    notch_across = STAR_NOTCH * math.sin(turn)
    return (STAR_TIP - along) * notch_across >= (STAR_TIP - notch_along) * across


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    square = u**2 + v**2
    return (square <= 1) & (square >= RING_HOLE**2)


# In the order of THINGS. Each function says which points of the local frame are inside.
OUTLINES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    _disc,
    _square,
    _triangle,
    _star,
    _ring,
)


def local_axes(form: Form, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates (H, W) of pixels in the form's own frame, where its outline has a radius of about 1."""
    columns = cols[None, :]
    lines = rows[:, None]
    x = (columns - form.x) / form.radius
    y = (lines - form.y) / form.radius
    cos = math.cos(form.angle)
    sin = math.sin(form.angle)
    along = x * cos + y * sin
    across = y * cos - x * sin
    return along, across / form.squeeze


def paint_form(form: Form, owner: np.ndarray, value: int, samples: int) -> None:
    """Set the samples inside a form to ``value``, in place.

    Args:
        owner: (H * samples, W * samples) map with ``samples`` rows and columns to a pixel.
    """
    height, width = owner.shape
    rows = _span(form.y, form.radius, height, samples)
    cols = _span(form.x, form.radius, width, samples)
    row_centres = _centres(rows, samples)
    col_centres = _centres(cols, samples)
    u, v = local_axes(form, row_centres, col_centres)
    is_inside = OUTLINES[form.label]
    part = owner[rows, cols]  # a view
    part[is_inside(u, v)] = value


def _span(centre: float, radius: float, length: int, samples: int) -> slice:
    """Return the samples that a form may reach along one axis of ``length`` samples."""
    low = (centre - REACH * radius) * samples
    high = (centre + REACH * radius) * samples
    return slice(max(int(low), 0), min(int(high) + 1, length))


def _centres(span: slice, samples: int) -> np.ndarray:
    """Return the centres of samples in pixels of the image."""
    return (np.arange(span.start, span.stop, dtype=np.float32) + 0.5) / samples


class Layer(NamedTuple):
    """Stuff (no forms), one thing (one form) or a crowd (many forms of one class)."""

    label: int  # index into CLASSES
    forms: tuple[Form, ...] = ()
