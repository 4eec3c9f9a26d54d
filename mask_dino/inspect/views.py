"""What chosen queries predict, layer by layer, in the frame of the original image."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor

from ..postprocess import ImageSizes
from ..postprocess.resize import enlarge_masks, scale_boxes
from .images import InspectionError, NetworkInput, prepare_image, to_network
from .networks import ENCODER, QueryState, Trace, find_head, trace_model
from .truth import Truth, compare_boxes, compare_masks


class LayerView(NamedTuple):
    """What N chosen queries predict after one layer, in pixels of the original image (H, W).

    The attention of layer i looks around the boxes of layer i - 1, and leads to the masks and boxes of layer i.
    The encoder's proposals and layer 0, which is before the first decoder layer, have no such attention: heads is 0.
    """

    layer: int  # -1 of the encoder's proposals, 0 before the first decoder layer, then 1, 2, ...
    queries: np.ndarray  # (N,) int64, numbers of the queries
    objects: np.ndarray  # (N,) int64, number of the annotated object of each query; -1 without one
    labels: np.ndarray  # (N,) int64, the most probable class
    scores: np.ndarray  # (N,) float32, its probability in [0, 1]
    masks: np.ndarray  # (N, H, W) bool
    boxes: np.ndarray  # (N, 4) float32, x1, y1, x2, y2; they may leave the image
    # (N, heads, levels, points, 2) float32, x and y; levels from high to low resolution.
    points: np.ndarray
    weights: np.ndarray  # (N, heads, levels, points) float32; the sum for each head is 1

    @property
    def name(self) -> str:
        """The words for this place of the network."""
        return 'encoder' if self.layer == ENCODER else f'layer {self.layer}'


@torch.no_grad()
def inspect_layers(
    model: BaseModel,
    image: str | Path | np.ndarray,
    *,
    config: Config | None = None,
    truth: Truth | None = None,
    queries: Sequence[int] | None = None,
    top_k: int = 3,
) -> list[LayerView]:
    """Return what the best queries of an image, or chosen ones, predict at every layer of a model.

    Works for Mask DINO under MMDetection and MMSegmentation, on any device, and for Mask2Former, which has neither
    proposals of an encoder nor sampled points. The network sees the whole image, also where the model is tested on
    windows of it.

    Args:
        model: In evaluation mode, for example of ``init_detector``, ``init_model`` or ``load_network``.
        image: A file, or an array (H, W, 3) uint8 BGR as OpenCV reads it.
        config: Says how images are prepared (default: ``model.cfg``).
        truth: Annotated objects. If given, the queries are those that the matcher assigns to them after the last
            layer, in the order of the objects (supplement of the paper, section A).
        queries: Numbers of queries.
        top_k: Number of queries with the highest class probability after the last layer, if none are chosen.

    Returns:
        One view for the encoder's proposals, unless the queries are learned, then one before the first decoder layer
        and one after each; see :class:`LayerView` for the shapes.

    Raises:
        InspectionError: If the model or the image cannot be inspected, or there is no such query.
    """
    find_head(model)  # refuses other models before the image is read
    if config is None:
        config = model.cfg
    item = prepare_image(config, image)
    inputs = to_network(model, item)
    passed = trace_model(model, inputs)
    if truth is None:
        chosen = choose_queries(passed, queries, top_k)
        objects = torch.full_like(chosen, -1)
    else:
        chosen, objects = match_queries(passed, truth, inputs)
    states = passed.states(chosen)
    return [_make_view(state, chosen, objects, inputs.sizes) for state in states]


def match_queries(passed: Trace, truth: Truth, inputs: NetworkInput) -> tuple[Tensor, Tensor]:
    """Return the numbers (M,) of the queries that are assigned to objects, and of these objects.

    Raises:
        InspectionError: If there is no object.
    """
    if not len(truth.labels):
        raise InspectionError(
            'the image has no annotated object: without annotations, queries are chosen by their score'
        )
    return passed.match(truth, inputs)


def choose_queries(passed: Trace, queries: Sequence[int] | None, top_k: int) -> Tensor:
    """Return the numbers (N,) of the chosen queries, or of the best.

    Raises:
        InspectionError: If there is no such query.
    """
    scores = passed.score()
    if queries is None:
        count = min(max(top_k, 1), len(scores))
        return scores.topk(count).indices
    last = len(scores) - 1
    missing = [query for query in queries if not 0 <= query <= last]
    if missing or not queries:
        asked = missing[0] if missing else 'in an empty list'
        raise InspectionError(f'there is no query {asked}: the model has the queries 0 to {last}')
    return torch.tensor(list(queries), device=scores.device)


def _make_view(state: QueryState, queries: Tensor, objects: Tensor, sizes: ImageSizes) -> LayerView:
    scores, labels = state.probabilities.max(-1)
    masks = enlarge_masks(state.masks.float(), sizes) > 0
    corner = state.boxes.new_tensor([[0.5, 0.5, 1.0, 1.0]])
    extent = scale_boxes(corner, sizes)[0, 2:]  # of the padded input, in pixels of the image
    values = (
        queries,
        objects,
        labels,
        scores,
        masks,
        scale_boxes(state.boxes.float(), sizes),
        state.points * extent,
        state.weights,
    )
    return LayerView(state.layer, *(value.cpu().numpy() for value in values))


def compare_with_truth(
    view: LayerView, index: int, truth: Truth | None
) -> tuple[float, float] | None:
    """Return the IoU of the mask and of the box of one query with its annotated object, or None without one."""
    number = int(view.objects[index])
    if truth is None or number < 0:
        return None
    pair, target = slice(index, index + 1), slice(number, number + 1)
    mask = compare_masks(view.masks[pair], truth.masks[target])[0]
    box = compare_boxes(view.boxes[pair], truth.boxes[target])[0]
    return float(mask), float(box)


def name_queries(view: LayerView, classes: Sequence[str], truth: Truth | None) -> list[str]:
    """Return the class and the number of each query; with annotated objects, the class of its object."""
    labels = view.labels if truth is None else truth.labels[view.objects]
    pairs = zip(labels, view.queries, strict=True)
    return [f'{classes[label]}, query {query}' for label, query in pairs]


def count_levels(views: Sequence[LayerView]) -> int:
    """Return the number of levels of the features that are sampled."""
    return max((view.weights.shape[2] for view in views if view.weights.size), default=0)


class SampledPoint(NamedTuple):
    """One point that a query samples."""

    x: float  # pixels of the image
    y: float
    radius: float  # of its circle, whose area is proportional to the weight
    level: int


def list_points(view: LayerView, index: int, largest: float) -> list[SampledPoint]:
    """Return the points of a query, the largest first, so that none is drawn over a smaller one.

    Args:
        largest: Radius of the point of the highest weight.
    """
    weights = view.weights[index]  # (heads, levels, points)
    if not weights.size:
        return []
    radii = largest * np.sqrt(weights / weights.max())
    order = np.argsort(-weights, axis=None, kind='stable')
    heads, levels, numbers = np.unravel_index(order, weights.shape)
    points = []
    for place in zip(heads, levels, numbers, strict=True):
        x, y = view.points[index][place].tolist()
        radius = float(radii[place])
        points.append(SampledPoint(x, y, radius, int(place[1])))
    return points


def pick_queries(views: Sequence[LayerView], places: Sequence[int]) -> list[LayerView]:
    """Return the views with only some of their queries, by their places from 0."""
    return [LayerView(view.layer, *(field[places] for field in view[1:])) for view in views]
