"""Paints one picture: what every owner of pixels looks like."""

from collections.abc import Sequence

import numpy as np

from mask_dino.datasets.shapes.forms import Form, local_axes
from mask_dino.datasets.shapes.layers import Layer
from mask_dino.datasets.shapes.paints import Paint, contrasting_paint, natural_paint
from mask_dino.datasets.shapes.textures import STUFF_PATTERNS, THING_PATTERNS, Pattern
from mask_dino.datasets.shapes.world import THINGS


def render(rng: np.random.Generator, coverage: np.ndarray, layers: Sequence[Layer]) -> np.ndarray:
    """Colour every layer and blend them by coverage, which smooths the edges.

    Args:
        coverage: (N, H, W) float: the share of each pixel that each layer owns.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    size = coverage.shape[1]
    centres = np.arange(size, dtype=np.float32) + 0.5
    image, paints = np.zeros((3, size, size), np.float32), list[Paint]()
    for layer, share in zip(layers, coverage, strict=True):
        surface = layer.forms[0] if len(layer.forms) == 1 else Form(0, size / 2, size / 2, size / 2, 0, 1)
        blend = _pattern(rng, layer)(rng, *local_axes(surface, centres, centres))
        paints.append(_paint(rng, layer, paints))
        dark, light = np.array(paints[-1], np.float32)[:, :, None, None]
        image += share * dark + share * blend * (light - dark)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def _paint(rng: np.random.Generator, layer: Layer, others: Sequence[Paint]) -> Paint:
    spread = rng.uniform(0.15, 0.35)
    if layer.forms:
        return contrasting_paint(rng, others, spread)
    return natural_paint(rng, layer.label - len(THINGS), spread)


def _pattern(rng: np.random.Generator, layer: Layer) -> Pattern:
    """The pattern tells the class of stuff and says nothing about the class of a thing."""
    if layer.forms:
        return THING_PATTERNS[rng.integers(len(THING_PATTERNS))]
    return STUFF_PATTERNS[layer.label - len(THINGS)]
