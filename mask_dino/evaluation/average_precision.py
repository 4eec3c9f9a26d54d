"""COCO's average precision, also of a model that finds nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmdet.structures.mask import BitmapMasks, encode_mask_results

from ..datasets.panoptic_png import SegmentMap
from ..messages import DataError
from .ground_truth import load_truth

COCO_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class CompleteCocoMetric(CocoMetric):
    """mmdet's CocoMetric, where AP is 0 if there is no result at all.

    The latter then returns nothing, and a hook that keeps the best checkpoint ends the training. It happens early in a
    panoptic training, when all of the best results are of stuff.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return box and mask AP as chosen by ``metric`` and ``metric_items``."""
        metrics: dict[str, float] = super().compute_metrics(results)
        if self.format_only:
            return metrics
        precisions = [metric for metric in self.metrics if metric in ('bbox', 'segm')]
        items = self.metric_items or COCO_ITEMS
        return {f'{metric}_{item}': 0.0 for metric in precisions for item in items} | metrics


# Areas of ground truth that mmdet converts are those of boxes, so that AP by area would mean little.
PANOPTIC_ITEMS = ['mAP', 'mAP_50', 'mAP_75']


class PanopticAPMetric(CompleteCocoMetric):
    """What AP of things and of stuff share.

    Args:
        ann_file: JSON file in COCO's panoptic format.
        seg_prefix: Folder of its PNGs.
        metric: ``['bbox', 'segm']``, or one of them.
    """

    field: str
    option: str

    def __init__(
        self,
        ann_file: str,
        seg_prefix: str,
        metric: list[str],
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(metric=metric, metric_items=PANOPTIC_ITEMS, collect_device=collect_device, prefix=prefix)
        self.ann_file, self.seg_prefix = ann_file, seg_prefix

    def chosen(self, is_thing: np.ndarray) -> np.ndarray:
        """Return which classes (C,) bool are evaluated, given which are things."""
        raise NotImplementedError

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect instances and the ground truth of a batch, as run lengths.

        Raises:
            DataError: If there are no such instances.
        """
        classes = tuple(self.dataset_meta['classes'])
        chosen = self.chosen(np.isin(classes, self.dataset_meta['thing_classes']))
        for sample in data_samples:
            if self.field not in sample:
                raise DataError(
                    f'{type(self).__name__}: results have no {self.field}. '
                    f'Set model=dict(test_cfg=dict({self.option}=True)), or leave this metric out.'
                )
            truth = segments_as_instances(load_truth(self.ann_file, self.seg_prefix, classes).of(sample), chosen)
            super().process(data_batch, [{**sample, 'pred_instances': sample[self.field], 'instances': truth}])


@METRICS.register_module()
class ThingAPMetric(PanopticAPMetric):
    """Box and mask AP of things, for data without a file of instances; with one, CompleteCocoMetric reads it.

    As AP_pan^Th of the paper's supplement, section B.
    """

    default_prefix = 'coco'
    field, option = 'pred_instances', 'instance_on'

    def chosen(self, is_thing: np.ndarray) -> np.ndarray:
        """Return which classes (C,) bool are evaluated, given which are things."""
        return is_thing


@METRICS.register_module()
class StuffAPMetric(PanopticAPMetric):
    """Mask AP of stuff, the AP_pan^St of the paper's supplement, section B: one segment per image and class."""

    default_prefix = 'coco_stuff'
    field, option = 'pred_stuff_instances', 'stuff_on'

    def chosen(self, is_thing: np.ndarray) -> np.ndarray:
        """Return which classes (C,) bool are evaluated, given which are things."""
        return ~is_thing


def segments_as_instances(truth: SegmentMap, chosen: np.ndarray) -> list[dict]:
    """Return the segments of classes chosen (C,) bool in mmdet's form of instances."""
    numbers = np.flatnonzero((truth.labels >= 0) & chosen[truth.labels])
    masks = (truth.pixels == numbers[:, None, None] + 1).astype(np.uint8)
    boxes = BitmapMasks(masks, *truth.pixels.shape).get_bboxes('hbox').numpy()
    return [
        dict(bbox=box, bbox_label=int(truth.labels[number]), ignore_flag=int(truth.is_crowd[number]), mask=mask)
        for number, box, mask in zip(numbers, boxes.tolist(), encode_mask_results(masks), strict=True)
    ]
