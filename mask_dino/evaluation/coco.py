"""COCO's average precision, also of a model that finds nothing."""

from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


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
        items = self.metric_items or ITEMS
        return {f'{metric}_{item}': 0.0 for metric in precisions for item in items} | metrics
