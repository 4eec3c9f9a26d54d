"""How good masks and boxes are after every layer: the claim of the supplement's figure 1 in numbers."""

import io
import json
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel

from .images import InspectionError
from .networks import ENCODER, find_labels
from .truth import Truth, read_truth
from .views import LayerView, compare_with_truth, inspect_layers


class LayerQuality(NamedTuple):
    """Means over the annotated objects of a data set, each for the query that is assigned to it after the last layer.

    NaN where there is no such object.
    """

    layer: int  # as in LayerView
    mask_iou: float  # of things and stuff, in [0, 1]
    mask_iou_things: float
    mask_iou_stuff: float
    box_iou_things: float


class ModelQuality(NamedTuple):
    """The means of one model, from its first layer to its last."""

    name: str
    num_images: int
    num_objects: int
    layers: list[LayerQuality]


class _Overlap(NamedTuple):
    is_thing: bool
    mask: float
    box: float


def measure_layers(
    name: str,
    model: BaseModel,
    truths: Sequence[tuple[str, Truth]],
    say: Callable[[str], None] = lambda text: None,
) -> ModelQuality:
    """Measure a model on annotated images.

    Args:
        truths: Files with their annotated objects; see :func:`read_truths`.
        say: Called with words about the progress.

    Raises:
        InspectionError: If no image has an object.
    """
    num_things = find_labels(model).num_things
    overlaps: dict[int, list[_Overlap]] = {}
    annotated = [(path, truth) for path, truth in truths if len(truth.labels)]
    if not annotated:
        raise InspectionError(
            'none of the images has an annotated object: there is nothing to measure'
        )
    steps = max(1, len(annotated) // 10)
    for number, (path, truth) in enumerate(annotated, 1):
        for view in inspect_layers(model, path, truth=truth):
            overlaps_of_layer = overlaps.setdefault(view.layer, [])
            overlaps_of_layer += _compare(view, truth, num_things)
        if number % steps == 0:
            say(f'{name}: {number} of {len(annotated)} images')
    layers = [_average(layer, values) for layer, values in sorted(overlaps.items())]
    return ModelQuality(name, len(annotated), len(overlaps[0]), layers)


def read_truths(
    dataset: BaseDataset, model: BaseModel, limit: int | None
) -> list[tuple[str, Truth]]:
    """Return the files of a data set, or the first of them, with their annotated objects.

    Raises:
        InspectionError: The model cannot be inspected, or an image has no masks in its annotation.
    """
    labels = find_labels(model)
    count = len(dataset)
    if limit is not None:
        count = min(limit, count)
    truths = []
    for index in range(count):
        sample = dataset[index]['data_samples']
        truth = read_truth(sample, labels)
        truths.append((sample.img_path, truth))
    return truths


def _compare(view: LayerView, truth: Truth, num_things: int) -> list[_Overlap]:
    overlaps = []
    for place, number in enumerate(view.objects):
        overlap = compare_with_truth(view, place, truth)
        if overlap is not None:
            is_thing = bool(truth.labels[number] < num_things)
            overlaps.append(_Overlap(is_thing, *overlap))
    return overlaps


def _average(layer: int, overlaps: Sequence[_Overlap]) -> LayerQuality:
    things = [overlap for overlap in overlaps if overlap.is_thing]
    stuff = [overlap for overlap in overlaps if not overlap.is_thing]
    return LayerQuality(
        layer,
        _mean([overlap.mask for overlap in overlaps]),
        _mean([overlap.mask for overlap in things]),
        _mean([overlap.mask for overlap in stuff]),
        _mean([overlap.box for overlap in things]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def to_json(models: Sequence[ModelQuality]) -> str:
    """Return the measurements as JSON; what is not known is null."""
    described = []
    for model in models:
        layers = []
        for quality in model.layers:
            values = quality._asdict().items()
            known = {key: None if math.isnan(value) else value for key, value in values}
            layers.append(known)
        described.append(dict(model._asdict(), layers=layers))
    return json.dumps(described, indent=1) + '\n'


def format_layers(models: Sequence[ModelQuality]) -> str:
    """Return a table for the screen."""
    columns = ('layer', 'mask IoU', 'of things', 'of stuff', 'box IoU of things')
    lines = []
    for model in models:
        lines.append(f'{model.name}: {model.num_objects} objects of {model.num_images} images')
        lines.append('  '.join(f'{column:>17}' for column in columns))
        for quality in model.layers:
            cells = [_name_layer(quality.layer), *(f'{value:.3f}' for value in quality[1:])]
            lines.append('  '.join(f'{cell:>17}' for cell in cells))
    return '\n'.join(lines)


def plot_layers(models: Sequence[ModelQuality]) -> bytes:
    """Return a PNG with the curves of one or more models."""
    figure = Figure(figsize=(9, 4), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    mask_axes, box_axes = figure.subplots(1, 2)
    mask_axes.set_title('mean IoU of masks')
    box_axes.set_title('mean IoU of boxes of things')
    for model in models:
        layers = [quality.layer for quality in model.layers]
        masks = [quality.mask_iou for quality in model.layers]
        boxes = [quality.box_iou_things for quality in model.layers]
        mask_axes.plot(layers, masks, marker='o', label=model.name)
        box_axes.plot(layers, boxes, marker='o', label=model.name)
    layers = sorted({quality.layer for model in models for quality in model.layers})
    for axes in (mask_axes, box_axes):
        axes.set_xticks(layers, [_name_layer(layer) for layer in layers])
        axes.set(xlabel='decoder layer (0: before the first)', ylim=(0, 1))
        axes.grid(alpha=0.3)
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    return buffer.getvalue()


def _name_layer(layer: int) -> str:
    return 'encoder' if layer == ENCODER else str(layer)
