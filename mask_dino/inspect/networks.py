"""The networks that can be inspected: loaded from a checkpoint, run once, and read layer by layer."""

from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..boxes import masks_to_boxes
from ..export.model import class_names, load_weights
from ..models import MaskDINOHead
from ..structures import Predictions
from .images import InspectionError, NetworkInput
from .recorder import LayerRecord, LayerRecorder
from .truth import Labels, Truth, resize_masks, to_targets

ENCODER = -1
"""Layer number of the predictions for the selected encoder tokens; 0 is before the first decoder layer."""

SEED = 0
"""Of the random points at which masks are matched."""


class QueryState(NamedTuple):
    """What N queries of one image predict at one place of the network."""

    layer: int
    probabilities: Tensor  # (N, num_classes)
    masks: Tensor  # (N, h, w) logits
    boxes: Tensor  # (N, 4) cxcywh in [0, 1] of the padded input
    points: Tensor  # (N, heads, V, points, 2), xy in [0, 1] of the padded input; no head without such attention
    weights: Tensor  # (N, heads, V, points)


class Trace(Protocol):
    """One forward pass of a network for one image."""

    def score(self) -> Tensor:
        """Return the probability (Q,) of the best class of each query after the last layer."""

    def match(self, truth: Truth, inputs: NetworkInput) -> tuple[Tensor, Tensor]:
        """Assign queries to objects after the last layer, as in training: their indices (M,), by object."""

    def states(self, queries: Tensor) -> list[QueryState]:
        """Return what the queries (N,) predict, from the encoder to the last layer."""


class MaskDINOTrace:
    """A forward pass of Mask DINO."""

    def __init__(self, head: MaskDINOHead, record: LayerRecord) -> None:
        self.head = head
        self.record = record

    def score(self) -> Tensor:
        """Return the probability (Q,) of the best class of each query after the last layer."""
        return self._classify(self.record.layers[-1].logits[0]).amax(-1)

    def match(self, truth: Truth, inputs: NetworkInput) -> tuple[Tensor, Tensor]:
        """Assign queries to objects after the last layer, as in training: their indices (M,), by object."""
        criterion = self.head.criterion
        features = self.record.mask_features
        targets = to_targets(truth, inputs.sizes, features.device)
        last = Predictions(*(field[None] for field in self.record.layers[-1]))
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            [(query, target)] = criterion.matcher(
                last, features, [targets], criterion.num_boxed_classes
            )
        return _sort_by_object(query[0], target[0])

    def states(self, queries: Tensor) -> list[QueryState]:
        """Return what the queries (N,) predict, from the encoder to the last layer."""
        record = self.record
        states = []
        no_points = record.points[0].new_zeros(len(queries), 0, *record.points[0].shape[3:])
        no_attention = (no_points, no_points[..., 0])
        if record.encoder is not None:
            states.append(self._read(ENCODER, record.encoder, queries, *no_attention))
        for layer, predictions in enumerate(record.layers):
            attention = no_attention
            if layer:
                attention = (
                    record.points[layer - 1][0, queries],
                    record.weights[layer - 1][0, queries],
                )
            states.append(self._read(layer, predictions, queries, *attention))
        return states

    def _read(
        self, layer: int, predictions: Predictions, queries: Tensor, points: Tensor, weights: Tensor
    ) -> QueryState:
        chosen = [field[:, queries] for field in predictions]
        features = self.record.mask_features
        decoded = Predictions(*chosen).decode(features)
        [logits], [boxes], [masks] = decoded
        return QueryState(layer, self._classify(logits), masks, boxes, points, weights)

    def _classify(self, logits: Tensor) -> Tensor:
        """Return the probabilities (Q, num_classes) of logits (Q, num_logits)."""
        if self.head.criterion.loss_cls.use_sigmoid:
            return logits.sigmoid()
        return logits.softmax(-1)[:, :-1]


class Mask2FormerTrace:
    """A forward pass of Mask2Former of MMDetection or MMSegmentation.

    It predicts no boxes: the boxes are those that enclose its masks. It samples no points.
    """

    def __init__(self, head: Mask2FormerHead, logits: list[Tensor], masks: list[Tensor]) -> None:
        self.head = head
        self.logits = logits  # of each layer (1, Q, num_classes + 1)
        self.masks = masks  # of each layer (1, Q, h, w) logits

    def score(self) -> Tensor:
        """Return the probability (Q,) of the best class of each query after the last layer."""
        return self.logits[-1][0].softmax(-1)[:, :-1].amax(-1)

    def match(self, truth: Truth, inputs: NetworkInput) -> tuple[Tensor, Tensor]:
        """Assign queries to objects after the last layer by the costs of training, at all pixels of the masks."""
        masks = self.masks[-1][0]
        targets = to_targets(truth, inputs.sizes, masks.device)
        height, width = masks.shape[-2:]
        small = resize_masks(targets.masks, (height, width))
        result = self.head.assigner.assign(
            InstanceData(scores=self.logits[-1][0], masks=masks),
            InstanceData(labels=targets.labels, masks=small.float()),
            inputs.sample.metainfo,
        )
        query = (result.gt_inds > 0).nonzero()[:, 0]
        return _sort_by_object(query, result.gt_inds[query] - 1)

    def states(self, queries: Tensor) -> list[QueryState]:
        """Return what the queries (N,) predict, from before the first layer to the last."""
        states = []
        for layer, (logits, masks) in enumerate(zip(self.logits, self.masks, strict=True)):
            chosen = masks[0, queries]
            probabilities = logits[0, queries].softmax(-1)[:, :-1]
            no_points = chosen.new_zeros(len(queries), 0, 0, 0, 2)
            boxes = masks_to_boxes(chosen > 0)
            states.append(
                QueryState(layer, probabilities, chosen, boxes, no_points, no_points[..., 0])
            )
        return states


def _sort_by_object(query: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    order = target.argsort()
    return query[order], target[order]


@torch.no_grad()
def trace_model(model: BaseModel, inputs: NetworkInput) -> Trace:
    """Run the network of a model once.

    It sees the whole image, also where the model is tested on windows of it.

    Args:
        model: A detector of mmdet or a segmentor of mmseg, in evaluation mode.

    Raises:
        InspectionError: If the model is neither Mask DINO nor Mask2Former.
    """
    head = find_head(model)
    feats = model.extract_feat(inputs.images)
    if isinstance(head, MaskDINOHead):
        with LayerRecorder(head) as recorder:
            head.predict_queries(feats)
        return MaskDINOTrace(head, recorder.read())
    logits, masks = head(feats, [inputs.sample])
    return Mask2FormerTrace(head, logits, masks)


def find_head(model: nn.Module) -> MaskDINOHead | Mask2FormerHead:
    """Return the head of a model.

    Raises:
        InspectionError: If the model is neither Mask DINO nor Mask2Former.
    """
    for module in model.children():
        if isinstance(module, (MaskDINOHead, Mask2FormerHead)):
            return module
    raise InspectionError(
        f'{type(model).__name__} has no head of Mask DINO or Mask2Former, which are the models that can be inspected'
    )


def find_labels(model: nn.Module) -> Labels:
    """Return how the labels of a model are divided.

    Raises:
        InspectionError: If the model is neither Mask DINO nor Mask2Former.
    """
    head = find_head(model)
    num_things = head.num_things_classes
    # mmseg's Mask2Former leaves mmdet's default numbers of things and stuff as they are; all of its classes are stuff.
    if num_things + head.num_stuff_classes != head.num_classes:
        num_things = 0
    return Labels(num_things, head.num_classes)


class LoadedNetwork(NamedTuple):
    """A model in evaluation mode, and what its data set says of the classes."""

    model: BaseModel  # its config is model.cfg, as after mmdet's init_detector
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]  # RGB


def load_network(
    config: Config, checkpoint: str | Path, device: torch.device | str = 'cpu'
) -> LoadedNetwork:
    """Build the model of a config, and fill it with all of its weights.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        CheckpointError: If it is damaged, or if any tensor of the model is missing in it or has another shape.
        InspectionError: If the model is neither Mask DINO nor Mask2Former.
        ExportError: If the classes do not fit the head.
    """
    model, stored = load_weights(config, checkpoint)
    head = find_head(model)
    classes, palette = class_names(config, stored, head.num_classes)
    model.cfg = config
    return LoadedNetwork(model.to(device).eval(), classes, palette)
