"""A record of one forward pass of Mask DINO."""

from types import TracebackType
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..models import MaskDINOHead
from ..ops.deformable_attention import DeformableAttention
from ..structures import Predictions, Queries


class LayerRecord(NamedTuple):
    """What a network of L decoder layers computed for a batch."""

    mask_features: Tensor  # (B, C, h, w) at stride 4
    encoder: Predictions | None  # (B, Q, ...) of the selected tokens; None with learned queries
    layers: list[Predictions]  # L + 1 times (B, Q, ...): before the first layer, then after each
    points: list[Tensor]  # L times (B, Q, heads, V, points, 2), xy in [0, 1] of the padded input
    weights: list[Tensor]  # L times (B, Q, heads, V, points); the sum for each head is 1


class LayerRecorder:
    """Records the last forward pass of a head in inference, while it is used as a context.

    It reads inputs and outputs of the head's parts by torch's forward hooks. Outside of the context there are no hooks,
    so the head computes nothing more. Inside, its results do not change. Points and weights come from the attention's
    own ``choose_points``, called once more with the inputs of the attention.

    Example::

        with LayerRecorder(head) as recorder:
            head.predict(feats)
        record = recorder.read()
    """

    def __init__(self, head: MaskDINOHead) -> None:
        self.head = head
        self.mask_features: Tensor | None = None
        self.encoder: Predictions | None = None
        self.queries: list[Queries] = []
        self.points: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.handles: list[RemovableHandle] = []

    def __enter__(self) -> 'LayerRecorder':
        head = self.head
        self.handles = [
            head.pixel_decoder.register_forward_hook(self._record_features),
            head.queries.register_forward_hook(self._record_queries),
            head.decoder.register_forward_hook(self._record_layers),
        ]
        for layer in head.decoder.layers:
            self.handles.append(layer.cross_attn.register_forward_pre_hook(self._record_points))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def read(self) -> LayerRecord:
        """Return the record of the last forward pass.

        Raises:
            RuntimeError: If the head was not called in the context.
        """
        if self.mask_features is None:
            raise RuntimeError('LayerRecorder: the head was not called inside of the context')
        # One layer at a time, as in inference: equal operations give equal values.
        layers = [self.head.prediction.predict_refined(queries) for queries in self.queries]
        return LayerRecord(self.mask_features, self.encoder, layers, self.points, self.weights)

    def _record_features(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        self.mask_features = output[0]
        self.points, self.weights = [], []  # the pixel decoder comes first in a forward pass

    def _record_queries(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        initial, self.encoder = output
        self.queries = [initial]

    def _record_layers(self, module: nn.Module, inputs: tuple, output: list[Queries]) -> None:
        self.queries += output

    def _record_points(self, attention: DeformableAttention, inputs: tuple) -> None:
        query, query_pos, reference, memory = inputs
        points, weights = attention.choose_points(
            query + query_pos, reference, memory.spatial_shapes
        )
        self.points.append(points)
        self.weights.append(weights)
