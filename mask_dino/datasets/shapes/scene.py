"""Composes one picture: which layer owns each pixel."""

import math
from typing import NamedTuple

import cv2
import numpy as np

from . import STUFF, THINGS, VOID, World
from .appearance import render_layers, smooth_noise
from .outlines import Form, Layer, paint_form

SAMPLES = 3  # per pixel and axis; odd, so that two owners never tie
MIN_AREA = 20  # pixels a segment must keep
MIN_VISIBLE_SHARE = 0.25  # fraction of its area that a thing must keep when others hide it
MIN_THING_SIDE = 10.0  # pixels
EMPTY_SHARE, CROWD_SHARE = 0.05, 0.03  # fractions of the images
ATTEMPTS = 5  # to find room for one object


class Scene(NamedTuple):
    """One picture and its ground truth."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    owner: np.ndarray  # (H, W) uint8: index into layers, or VOID
    layers: tuple[Layer, ...]  # from back to front


class _Draft(NamedTuple):
    samples: np.ndarray  # (H * SAMPLES, W * SAMPLES) uint8: index into layers
    layers: tuple[Layer, ...]
    needed: tuple[float, ...]  # pixels that each layer must keep


def compose_scene(world: World, rng: np.random.Generator) -> Scene:
    """Draw one scene."""
    draft = _regions(rng, world.size)
    if world.max_objects and rng.random() >= EMPTY_SHARE:
        draft = _populate(rng, world, draft)
    coverage = _coverage(draft.samples, len(draft.layers))
    owner = _strongest(coverage)
    areas = np.bincount(owner.ravel(), minlength=len(draft.layers))
    # Only stuff can be too small here, where things cover most of it.
    owner[np.isin(owner, np.flatnonzero(areas < MIN_AREA))] = VOID
    return Scene(
        render_layers(rng, coverage / np.float32(SAMPLES**2), draft.layers), owner, draft.layers
    )


def _regions(rng: np.random.Generator, size: int) -> _Draft:
    """Divide the picture among one to three kinds of stuff with irregular borders."""
    num_kinds = len(STUFF)
    kinds = rng.permutation(num_kinds)
    kinds = kinds[: rng.integers(1, num_kinds + 1)]
    sites = rng.uniform(0, 1, size=(len(kinds), 2))
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]  # the corners of the picture are 0 and 1
    scores = []
    for site_x, site_y in sites:
        distance = np.hypot(x - site_x, y - site_y)
        score = 0.1 * smooth_noise(rng, 6, size) - distance
        scores.append(cv2.resize(score, None, fx=SAMPLES, fy=SAMPLES))
    owner = _strongest(np.stack(scores))
    layers = tuple(Layer(len(THINGS) + int(kind)) for kind in kinds)
    needed = (0,) * len(layers)
    return _Draft(owner, layers, needed)


def _populate(rng: np.random.Generator, world: World, draft: _Draft) -> _Draft:
    """Put things in front of the stuff, one by one. No thing may hide too much of another."""
    makers = [_crowd] if rng.random() < CROWD_SHARE else []
    makers += [_thing] * int(rng.integers(1, world.max_objects + 1))
    for make in makers:
        layers = (make(rng, world.size) for _ in range(ATTEMPTS))
        trials = (_add(draft, layer) for layer in layers)
        successful = filter(None, trials)
        draft = next(successful, draft)
    return draft


def _add(draft: _Draft, layer: Layer) -> _Draft | None:
    """Put a layer in front of the others; None if this layer or one behind it would be too small to see."""
    samples = draft.samples.copy()
    new = len(draft.layers)
    for form in layer.forms:
        paint_form(form, samples, new, SAMPLES)
    owner = _strongest(_coverage(samples, new + 1))
    areas = np.bincount(owner.ravel(), minlength=new + 1)
    needed = (*draft.needed, max(MIN_AREA, MIN_VISIBLE_SHARE * areas[new]))
    if np.any(areas < needed):
        return None
    return _Draft(samples, (*draft.layers, layer), needed)


def _thing(rng: np.random.Generator, size: int) -> Layer:
    smallest = max(size / 12, MIN_THING_SIDE)
    radius = rng.uniform(smallest, size / 2) / 2
    margin = 0.4 * radius
    x, y = rng.uniform(margin, size - margin, size=2)
    label = int(rng.integers(len(THINGS)))
    form = _form(rng, label, x, y, radius)
    return Layer(label, (form,))


def _crowd(rng: np.random.Generator, size: int) -> Layer:
    """Return many small things of one class that nobody would outline one by one."""
    label = int(rng.integers(len(THINGS)))
    count = int(rng.integers(10, 18))
    middle = rng.uniform(0.2, 0.8, size=2) * size
    offsets = rng.normal(0, 0.09 * size, size=(count, 2))
    radius = max(size / 24, MIN_THING_SIDE / 2)
    positions = middle + offsets
    forms = tuple(_form(rng, label, x, y, radius) for x, y in positions)
    return Layer(label, forms)


def _form(rng: np.random.Generator, label: int, x: float, y: float, radius: float) -> Form:
    return Form(label, float(x), float(y), radius, rng.uniform(0, math.tau), rng.uniform(0.6, 1))


def _coverage(samples: np.ndarray, count: int) -> np.ndarray:
    """Return how many samples of each pixel each layer owns, (count, H, W) uint8."""
    size = samples.shape[0] // SAMPLES
    blocks = samples.reshape(size, SAMPLES, size, SAMPLES)
    by_sample = blocks.transpose(1, 3, 0, 2)
    planes = by_sample.reshape(-1, size, size)
    counts = [(planes == index).sum(axis=0, dtype=np.uint8) for index in range(count)]
    return np.stack(counts)


def _strongest(scores: np.ndarray) -> np.ndarray:
    """Return the index of the largest of (N, H, W) scores; numpy's argmax is slow along a short first axis."""
    best = scores[0].copy()
    index = np.zeros(best.shape, np.uint8)
    for i, score in enumerate(scores[1:], start=1):
        index[score > best] = i
        np.maximum(best, score, out=best)
    return index
