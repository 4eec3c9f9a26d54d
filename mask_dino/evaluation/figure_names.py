"""The names of the figures that a validation gives, known before the first training step."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from .coco import CompleteCocoMetric
from .figures import compute_figure, default_items
from .panoptic import PanopticQualityMetric
from .semantic import PanopticIoUMetric

SEMANTIC_FIGURES = ['mIoU', 'mAcc', 'aAcc']


def build_metric(config: Mapping, scope: str | None) -> BaseMetric | None:
    """Return a metric, or None if it is of another package.

    Args:
        scope: The registry in which its type is looked up.

    Raises:
        LookupError, TypeError, ValueError: If it does not take its options.
    """
    with METRICS.switch_scope_and_registry(scope) as registry:
        kind: Any = registry.get(config['type'])
    known = (CompleteCocoMetric, PanopticQualityMetric, PanopticIoUMetric)
    if not (isinstance(kind, type) and issubclass(kind, known)):
        return None
    options = {name: value for name, value in config.items() if name != 'type'}
    metric: BaseMetric = kind(**options)
    return metric


def list_figures(configs: list[Mapping], metainfo: dict, scope: str | None) -> list[str] | None:
    """Return the names of the figures of an evaluator.

    Args:
        configs: Configs of its metrics.
        metainfo: Meta information of the data set.
        scope: The registry in which the types of the metrics are looked up.

    Returns:
        The names, as ``save_best`` takes them; None if there is a metric of another package.

    Raises:
        DataError: If the annotation file of a metric cannot be used.
    """
    names: list[str] = []
    for config in configs:
        metric = build_metric(config, scope)
        if metric is None:
            return None
        metric.dataset_meta = metainfo
        names += [f'{metric.prefix}/{name}' for name in _own_names(metric)]
    return names


def _own_names(metric: BaseMetric) -> list[str]:
    """Return the names that one metric gives, in its order and without its prefix."""
    if isinstance(metric, PanopticIoUMetric):
        return SEMANTIC_FIGURES
    if isinstance(metric, PanopticQualityMetric):
        kinds = ('', '_th', '_st')
        return [] if metric.format_only else [a + b for b, a in product(kinds, ('PQ', 'SQ', 'RQ'))]
    if isinstance(metric, CompleteCocoMetric) and not metric.format_only:
        return [name for kind in metric.metrics for name in _precision_names(metric, kind)]
    return []


def _precision_names(metric: CompleteCocoMetric, kind: str) -> Iterator[str]:
    """Yield the names of ``bbox``, ``segm`` or a kind of proposals, without those for which there is no object."""
    if kind == 'proposal_fast':
        yield from (f'AR@{limit}' for limit in metric.proposal_nums)
        return
    is_proposal = kind == 'proposal'
    items = metric.items or default_items(is_proposal, metric.proposal_nums, metric.iou_thrs)
    curves = None
    if metric.ann_file is not None:
        curves = metric.compute_curves(kind, metric.annotated_images([]), [])
    for item in items:
        is_absent = curves is not None and np.isnan(
            compute_figure(curves, item, metric.limits, metric.iou_thrs)
        )
        if not is_absent:
            yield item.name if is_proposal else f'{kind}_{item.name}'
