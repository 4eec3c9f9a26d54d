"""What the runtime returns for one image."""

from dataclasses import dataclass

import numpy as np

from .drawing import draw_result
from .parsing import check_number


@dataclass(frozen=True, eq=False)
class Result:
    """Everything that a model says of one image; arrays of numpy at the image's own size.

    Instances come by falling score, as many as the model was exported for: compare ``scores`` with a threshold. What
    the model does not make is None.
    """

    image: np.ndarray  # (H, W, 3) uint8 RGB
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]  # RGB of each class
    # (N, 4) float32 xyxy in pixels; they may leave the image by a little.
    boxes: np.ndarray | None = None
    labels: np.ndarray | None = None  # (N,) int64 indices of classes
    scores: np.ndarray | None = None  # (N,) float32 in [0, 1]
    masks: np.ndarray | None = None  # (N, H, W) bool
    # (H, W) int32: class + 1000 * number of the thing; len(classes) is no segment.
    panoptic: np.ndarray | None = None
    semantic: np.ndarray | None = None  # (H, W) int32 indices of classes

    @property
    def names(self) -> list[str]:
        """Names of the classes of the instances."""
        return [] if self.labels is None else [self.classes[label] for label in self.labels]

    def draw(self, score_thr: float = 0.3) -> np.ndarray:
        """Return a picture (H, W * parts, 3) uint8 RGB: instances, panoptic and semantic map side by side.

        Args:
            score_thr: Score from which instances are drawn.

        Raises:
            TypeError: If ``score_thr`` is no number.
            ValueError: If ``score_thr`` is NaN or infinite.
        """
        check_number('score_thr', score_thr)
        return draw_result(self, score_thr)
