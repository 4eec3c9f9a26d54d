"""The model behind the page: an exported file without torch, or a config with its checkpoint."""

from pathlib import Path
from typing import Protocol

import numpy as np

from ..runtime import Result, Segmenter


class LayersError(ValueError):
    """The layers of a model cannot be shown: the message is a sentence for the visitor of the page."""


class Predictor(Protocol):
    """A model that is loaded once and asked by one visitor at a time."""

    name: str  # of its file
    classes: tuple[str, ...]

    def predict(self, image: np.ndarray) -> Result:
        """Return all results of an image (H, W, 3) uint8 RGB."""
        ...

    def draw_layers(self, image: np.ndarray) -> np.ndarray:
        """Return a picture (h, w, 3) uint8 RGB of the best objects of an image (H, W, 3), at each decoder layer.

        Raises:
            LayersError: If the model does not show its layers.
        """
        ...


class ExportedPredictor:
    """A model that ``tools/deployment/export.py`` wrote.

    Raises:
        ModelFileError: If the file is missing, damaged, or of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        self.segmenter = Segmenter(path)
        self.name = Path(path).name
        self.classes = self.segmenter.info.classes

    def predict(self, image: np.ndarray) -> Result:
        """Return all results of an image (H, W, 3) uint8 RGB."""
        return self.segmenter(image)

    def draw_layers(self, image: np.ndarray) -> np.ndarray:
        """Refuse an image (H, W, 3): the file has only the results of the last layer.

        Raises:
            LayersError: Always.
        """
        raise LayersError(
            f'{self.name} has only the results of the last layer. To see every layer, start the page with the config '
            'and the checkpoint: python tools/demo/app.py CONFIG CHECKPOINT'
        )
