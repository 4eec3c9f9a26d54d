"""Models to inspect, from a config and a checkpoint."""

from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from ..export.model import class_names, load_weights
from .networks import find_head


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
