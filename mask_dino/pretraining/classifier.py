"""A backbone as a classifier, and how often it is right."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import METRICS, MODELS
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import Tensor, nn

NUM_MAPS = 3
"""Maps of the backbone, from the coarsest, that learn to name objects: detectors read classes from all of them."""


@MODELS.register_module()
class BackboneClassifier(BaseModel):
    """A backbone with linear classifiers on the means of its coarsest maps.

    Args:
        backbone: Config of the backbone.
        num_classes: Classes, the background included.
        size: Side of the crops in pixels.
        data_preprocessor: Config that normalises the images as for the detector.
    """

    def __init__(
        self, backbone: dict, num_classes: int, size: int, data_preprocessor: dict
    ) -> None:
        super().__init__(data_preprocessor)
        self.backbone = MODELS.build(backbone)
        channels = find_channels(self.backbone, size)[-NUM_MAPS:]
        self.classifiers = nn.ModuleList(nn.Linear(width, num_classes) for width in channels)

    def forward(
        self, inputs: Tensor, data_samples: Tensor, mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[dict[str, int]] | Tensor:
        """Classify crops (N, 3, S, S).

        Args:
            data_samples: Labels (N,).

        Returns:
            Losses in mode ``loss``; in mode ``predict``, how many crops are named right; else logits (maps, N, K).
        """
        maps = self.backbone(inputs)[-NUM_MAPS:]
        means = [features.mean((2, 3)) for features in maps]
        logits = [classify(mean) for classify, mean in zip(self.classifiers, means, strict=True)]
        if mode == 'loss':
            # Sums, because a batch of images without objects has no crop, and no mean.
            sums = [F.cross_entropy(x, data_samples, reduction='sum') for x in logits]
            return dict(loss=torch.stack(sums).sum() / max(len(data_samples), 1))
        if mode == 'predict':
            return count_right(logits[-1].argmax(1), data_samples)
        return torch.stack(logits)


def find_channels(backbone: nn.Module, size: int) -> list[int]:
    """Return the number of channels of each map that a backbone makes of images of ``size`` pixels."""
    was_training = backbone.training
    backbone.eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, size, size))
    backbone.train(was_training)
    return [features.shape[1] for features in maps]


def count_right(predictions: Tensor, labels: Tensor) -> list[dict[str, int]]:
    """Count how many labels (N,) are predicted, as the one result of a batch, which may have no objects."""
    return [dict(num_right=int((predictions == labels).sum()), count=len(labels))]


@METRICS.register_module()
class ObjectAccuracy(BaseMetric):
    """The share of objects that are named right, between 0 and 1."""

    default_prefix = 'objects'

    def process(self, data_batch: object, data_samples: Sequence[dict[str, int]]) -> None:
        """Keep the counts of a batch."""
        self.results += list(data_samples)

    def compute_metrics(self, results: list[dict[str, int]]) -> dict[str, float]:
        """Return the share, and the number of objects."""
        count = sum(batch['count'] for batch in results)
        num_right = sum(batch['num_right'] for batch in results)
        return dict(accuracy=num_right / max(count, 1), count=float(count))
