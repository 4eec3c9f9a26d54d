"""Pictures of semantic segmentation."""

import numpy as np
from mmseg.registry import VISUALIZERS
from mmseg.visualization import SegLocalVisualizer


@VISUALIZERS.register_module()
class SemanticVisualizer(SegLocalVisualizer):
    """mmseg's visualizer, for images in any memory layout.

    OpenCV draws only on contiguous arrays, and mmseg's ``browse_dataset.py`` passes other arrays.
    """

    def add_datasample(self, name: str, image: np.ndarray, *args: object, **kwargs: object) -> None:
        """Draw a data sample (image: (H, W, 3)); mmseg's visualizer has the same arguments."""
        super().add_datasample(name, np.ascontiguousarray(image), *args, **kwargs)
