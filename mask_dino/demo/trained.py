"""A trained model behind the page, with MMDetection's or MMSegmentation's own inference."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement

from ..inspect import InspectionError, draw_layers, inspect_layers, load_network
from ..runtime import Result
from .predictors import LayersError

LAYER_OBJECTS = 4
"""Objects whose layers are drawn: those with the highest class probability."""


class TrainedPredictor:
    """A model of a config with the weights of a checkpoint.

    Args:
        device: Device of torch, such as ``cpu`` or ``cuda:0``.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        CheckpointError: If it is damaged or does not fit the config.
        InspectionError: If the model is neither Mask DINO nor Mask2Former.
        ExportError: If its classes have no names.
    """

    def __init__(self, config: Config, checkpoint: str | Path, device: str) -> None:
        network = load_network(config, checkpoint, device)
        self.model = network.model
        self.name = Path(checkpoint).name
        self.classes = network.classes
        self.palette = network.palette
        scope = config.get('default_scope')
        self.is_semantic = scope == 'mmseg'

    def predict(self, image: np.ndarray) -> Result:
        """Return all results of an image (H, W, 3) uint8 RGB."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        if self.is_semantic:
            from mmseg.apis import inference_model

            return self._read(image, inference_model(self.model, bgr))
        from mmdet.apis import inference_detector

        return self._read(image, inference_detector(self.model, bgr))

    def draw_layers(self, image: np.ndarray) -> np.ndarray:
        """Return a picture (h, w, 3) uint8 RGB of the best objects of an image (H, W, 3), at each decoder layer.

        Raises:
            LayersError: If the layers of the model cannot be read.
        """
        bgr = np.ascontiguousarray(image[..., ::-1])
        try:
            views = inspect_layers(self.model, bgr, top_k=LAYER_OBJECTS)
        except InspectionError as error:
            raise LayersError(f'The layers cannot be shown: {error}.') from error
        return draw_layers(image, views, self.classes)

    def _read(self, image: np.ndarray, sample: BaseDataElement) -> Result:
        sample = sample.cpu()
        if self.is_semantic:
            semantic = _to_map(sample.pred_sem_seg.data)
            return Result(image, self.classes, self.palette, semantic=semantic)
        panoptic = sample.get('pred_panoptic_seg')
        areas = sample.get('pred_sem_seg')
        maps = dict(
            panoptic=None if panoptic is None else _to_map(panoptic.sem_seg),
            semantic=None if areas is None else _to_map(areas.sem_seg),
        )
        instances = sample.get('pred_instances')
        if instances is None:
            return Result(image, self.classes, self.palette, **maps)
        masks = instances.get('masks')
        return Result(
            image,
            self.classes,
            self.palette,
            boxes=instances.bboxes.numpy(),
            labels=instances.labels.numpy(),
            scores=instances.scores.numpy(),
            masks=None if masks is None else masks.numpy().astype(bool),
            **maps,
        )


def _to_map(ids: torch.Tensor) -> np.ndarray:
    """Return (H, W) int32 from the (1, H, W) that the frameworks return."""
    return ids[0].numpy().astype(np.int32)
