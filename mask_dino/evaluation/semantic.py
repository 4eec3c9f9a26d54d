"""Semantic quality of a panoptic model, with the ground truth of the panoptic annotations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..messages import DataError
from .ground_truth import check_shape, load_truth, nothing_to_evaluate, predicted_map
from .pq import add_up, iou_table


@METRICS.register_module()
class PanopticIoUMetric(BaseMetric):
    """mIoU of the semantic results of things and stuff.

    As in the original, crowds count as pixels of their class, void does not count, and the mean is over the classes
    that occur in the ground truth.

    Args:
        ann_file: JSON file in COCO's panoptic format.
        seg_prefix: Folder of its PNGs.
        classwise: Whether to print the table of classes.
    """

    default_prefix = 'coco_semantic'

    def __init__(
        self,
        ann_file: str,
        seg_prefix: str,
        classwise: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.ann_file, self.seg_prefix, self.classwise = ann_file, seg_prefix, classwise

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of every class in the results of a batch.

        Raises:
            DataError: If the results have no semantic map, or one of another size than the ground truth.
            PredictionError: If a map is NaN or infinite.
        """
        classes = tuple(self.dataset_meta['classes'])
        for sample in data_samples:
            if 'pred_sem_seg' not in sample:
                raise DataError(
                    'There is no semantic result. Set model=dict(test_cfg=dict(semantic_on=True)).'
                )
            prediction = predicted_map(sample, 'pred_sem_seg')
            truth = load_truth(self.ann_file, self.seg_prefix, classes).find_segments(sample)
            labels = truth.label_pixels(len(classes), crowds=True)
            check_shape(sample, 'semantic', prediction, labels)
            self.results.append(count_pixels(prediction, labels, len(classes)))

    def compute_metrics(self, results: Sequence[np.ndarray]) -> dict[str, float]:
        """Return mIoU, mean accuracy of the classes and accuracy of all pixels, in percent.

        Args:
            results: Rows (N, 4) of every image, see :func:`count_pixels`.

        Raises:
            DataError: If no pixel of the ground truth has a class.
        """
        load_truth.cache_clear()
        classes = self.dataset_meta['classes']
        common, predicted, true = add_up(results, len(classes), kinds=3).T
        occurs = true > 0
        if not occurs.any():
            raise nothing_to_evaluate(self.ann_file, type(self).__name__)
        ious = np.full(len(classes), np.nan)
        ious[occurs] = 100 * common[occurs] / (predicted + true - common)[occurs]
        if self.classwise:
            MMLogger.get_current_instance().info(
                f'Classwise Semantic Evaluation Results:\n{iou_table(ious, classes)}'
            )
        return dict(
            mIoU=float(ious[occurs].mean()),
            mAcc=float(100 * (common[occurs] / true[occurs]).mean()),
            aAcc=float(100 * common.sum() / true.sum()),
        )


def count_pixels(prediction: np.ndarray, truth: np.ndarray, num_classes: int) -> np.ndarray:
    """Return rows (label, common pixels, predicted pixels, true pixels) of one image, of the classes that occur.

    Args:
        prediction: Classes (H, W).
        truth: Classes (H, W) from 0; ``num_classes`` is void, where predictions do not count.
    """
    known = truth < num_classes
    prediction = prediction[known]
    truth = truth[known]
    common = truth[prediction == truth]
    groups = (common, prediction, truth)
    histograms = [_histogram(labels, num_classes) for labels in groups]
    counts = np.stack(histograms, 1)  # (C, 3)
    present = np.flatnonzero(counts.any(1))
    return np.column_stack((present, counts[present]))


def _histogram(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels (N,) of each class (num_classes,); other values are dropped."""
    return np.bincount(labels, minlength=num_classes)[:num_classes]
