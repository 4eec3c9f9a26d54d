"""One HTML page of layers that needs no network: a slider, a choice of objects, and switches."""

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files import write_whole
from .drawing import BOX_COLOUR, LEVEL_COLOURS, MASK_COLOUR, MASK_OPACITY, TRUTH_COLOUR
from .truth import Truth
from .views import (
    LayerView,
    SampledPoint,
    compare_with_truth,
    count_levels,
    list_points,
    name_queries,
)

TEMPLATE = Path(__file__).with_name('layers.html')
LARGEST_IMAGE = 1600
"""Longer side of the image in the page, in pixels; larger images are reduced."""
LARGEST_PAGE_POINT = 0.014
"""Radius of the point of the highest weight in a layer, as a share of the image's longer side."""


def write_layers_page(
    path: str | Path,
    image: np.ndarray,
    views: Sequence[LayerView],
    classes: Sequence[str],
    *,
    truth: Truth | None = None,
    beside: Sequence[LayerView] = (),
    names: tuple[str, str] = ('Mask DINO', 'Mask2Former'),
    title: str = 'Layer by layer',
) -> None:
    """Write the page of an image (H, W, 3); see :func:`~mask_dino.inspect.draw_layers` for the arguments.

    Raises:
        OSError: If the file cannot be written.
    """
    text = make_layers_page(
        image, views, classes, truth=truth, beside=beside, names=names, title=title
    )
    write_whole(Path(path), text.encode())


def make_layers_page(
    image: np.ndarray,
    views: Sequence[LayerView],
    classes: Sequence[str],
    *,
    truth: Truth | None = None,
    beside: Sequence[LayerView] = (),
    names: tuple[str, str] = ('Mask DINO', 'Mask2Former'),
    title: str = 'Layer by layer',
) -> str:
    """Return the text of the page of an image (H, W, 3); see :func:`write_layers_page`."""
    height, width = image.shape[:2]
    models = [(names[0], views), (names[1], beside)]
    last = views[-1]
    objects = name_queries(last, classes, truth)
    layers = {view.layer: view.name for view in [*beside, *views]}
    data = dict(
        image=encode_image(image, 'JPEG'),
        width=width,
        height=height,
        layers=[layers[layer] for layer in sorted(layers)],
        objects=[f'{number}: {name}' for number, name in enumerate(objects, 1)],
        truth=_encode_truth(truth, last.objects),
        levels=count_levels(views),
        colours=[_hex(colour) for colour in LEVEL_COLOURS],
        boxColour=_hex(BOX_COLOUR),
        models=[
            dict(name=name, objects=_describe_model(model, last, classes, truth))
            for name, model in models
            if model
        ],
    )
    # A name of a class could otherwise end the script.
    content = json.dumps(data).replace('<', '\\u003c')
    page = TEMPLATE.read_text(encoding='utf-8').replace('@TITLE@', html.escape(title))
    return page.replace('@DATA@', content)


def _describe_model(
    views: Sequence[LayerView], first: LayerView, classes: Sequence[str], truth: Truth | None
) -> list[dict[str, Any]]:
    """Return the layers of a model for each object of the first model; without annotation, for each rank."""
    own = list(views[-1].objects)
    objects = []
    for rank, number in enumerate(first.objects):
        index = rank
        if number >= 0 and number in own:
            index = own.index(number)
        known = views if index < len(own) else ()
        layers = [_describe_layer(view, index, classes, truth) for view in known]
        objects.append(dict(layers=layers))
    return objects


def _describe_layer(
    view: LayerView, index: int, classes: Sequence[str], truth: Truth | None
) -> dict[str, Any]:
    height, width = view.masks.shape[1:]
    largest = LARGEST_PAGE_POINT * max(height, width)
    overlap = compare_with_truth(view, index, truth)
    return dict(
        name=view.name,
        label=classes[view.labels[index]],
        score=round(float(view.scores[index]), 4),
        share=round(float(view.masks[index].mean()), 4),
        box=[round(value, 2) for value in view.boxes[index].tolist()],
        mask=encode_mask(view.masks[index], MASK_COLOUR),
        points=[_round(point) for point in list_points(view, index, largest)],
        iou=[round(value, 4) for value in overlap] if overlap else None,
    )


def _round(point: SampledPoint) -> list[float]:
    return [round(value, 2) for value in point]


def _encode_truth(truth: Truth | None, objects: np.ndarray) -> list[str]:
    if truth is None:
        return []
    return [encode_mask(truth.masks[number], TRUTH_COLOUR) for number in objects if number >= 0]


def encode_mask(mask: np.ndarray, colour: tuple[int, int, int]) -> str:
    """Return a mask (H, W) as a PNG of one colour, as a ``data:`` address."""
    picture = Image.fromarray(mask.astype(np.uint8), mode='P')
    picture.putpalette((0, 0, 0, *colour))
    buffer = io.BytesIO()
    alpha = bytes([0, round(255 * MASK_OPACITY)])
    picture.save(buffer, 'PNG', transparency=alpha, bits=1, optimize=True)
    return _to_address(buffer.getvalue(), 'png')


def encode_image(image: np.ndarray, kind: str) -> str:
    """Return an image (H, W, 3) uint8 RGB as a ``data:`` address, reduced if it is large.

    Args:
        kind: 'JPEG' or 'PNG'.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST_IMAGE, LARGEST_IMAGE))
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=90)
    content = buffer.getvalue()
    return _to_address(content, kind.lower())


def _to_address(content: bytes, kind: str) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


def _hex(colour: tuple[int, int, int]) -> str:
    return '#' + bytes(colour).hex()
