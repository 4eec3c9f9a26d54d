"""Pictures of semantic segmentation."""

import numpy as np
from mmseg.registry import VISUALIZERS
from mmseg.visualization import SegLocalVisualizer


@VISUALIZERS.register_module()
class SemanticVisualizer(SegLocalVisualizer):
    """mmseg's visualizer, for images in any memory layout.

    OpenCV draws on contiguous arrays alone, and mmseg's ``browse_dataset.py`` passes others.
    """

    def add_datasample(self, name: str, image: np.ndarray, *args: object, **kwargs: object) -> None:
        """Draw a data sample; arguments are those of mmseg's visualizer."""
        super().add_datasample(name, np.ascontiguousarray(image), *args, **kwargs)
