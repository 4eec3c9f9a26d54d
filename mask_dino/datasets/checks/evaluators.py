"""Check the evaluators of a config: their options, their files, and the figures that they give."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.hooks import CheckpointHook
from mmengine.registry import METRICS

from ...evaluation.figure_names import build_metric, list_figures
from ...messages import DataError, Finding, error, first_few, is_url, warning
from ...random_state import keeping_random_state
from .config import leaf_datasets
from .evaluator_files import check_delivered_truth, check_delivery, check_evaluator_file

BY_ORDER = {'CocoMetric', 'CocoPanopticMetric'}
"""Metrics that number the classes in the order of their file."""
BY_NAME = {'PanopticAPMetric', 'PanopticQualityMetric', 'PanopticIoUMetric'}
"""Metrics that find the classes of their file by name."""
READS_LABEL_MAPS = 'IoUMetric'
"""The metric that compares results with the label maps of the samples."""
NO_LABEL_MAP = (
    'compares results with label maps, and the samples of {0} have none. For semantic data, write '
    "dict(type='LoadAnnotations') into the pipeline, before the transform that packs the sample. For instances, write "
    "type='CompleteCocoMetric', and for panoptic data type='PanopticIoUMetric'."
)


NO_RULE = (
    'takes the first figure, and CheckpointHook does not know whether larger values of it are better. Name a figure '
    "and add rule='greater'."
)


def compares_results(evaluators: Any, scope: str | None) -> bool:
    """Tell whether evaluators, given by their configs, compare results with annotations."""
    return any(
        _metric_names(metric, scope) & (BY_ORDER | BY_NAME)
        for metric in _comparing_metrics(evaluators)
    )


def check_evaluator(loader: str, dataset: Any, evaluators: Any, scope: str | None) -> list[Finding]:
    """Report an evaluator whose file has other images or classes than the data set, or whose folder has no maps."""
    evaluator = loader.replace('dataloader', 'evaluator')
    parts = list(leaf_datasets(dataset))
    leaves = [leaf for leaf in parts if _lists_images(leaf)]
    findings = []
    for index, metric in enumerate(_comparing_metrics(evaluators)):
        names = _metric_names(metric, scope)
        if READS_LABEL_MAPS in names and not all(map(_delivers_label_map, parts)):
            findings.append(error(f'{evaluator}: {metric["type"]} {NO_LABEL_MAP.format(loader)}'))
        if not leaves or not names & (BY_ORDER | BY_NAME):
            continue
        one_each = 'MultiDatasetsEvaluator' in _type_name(evaluators) and index < len(leaves)
        compared = leaves[index : index + 1] if one_each else leaves
        findings += _check_options(evaluator, metric, names, scope)
        findings += _check_files(evaluator, metric, names, compared)
    return findings


def _check_files(
    evaluator: str, metric: Mapping, names: set[str], leaves: Sequence[BaseDataset]
) -> list[Finding]:
    """Compare the files of a metric with the data sets that it evaluates."""
    findings: list[Finding] = []
    field = f'{evaluator}.ann_file'
    if metric.get('ann_file'):
        findings += check_evaluator_file(field, metric, leaves, bool(names & BY_NAME))
    if metric.get('ann_file') and names & BY_ORDER:
        findings += check_delivery(field, metric['ann_file'], leaves)
    if not metric.get('ann_file') and 'CocoMetric' in names:
        findings += check_delivered_truth(field, leaves)
    folder = metric.get('seg_prefix')
    if folder and not is_url(folder) and not os.path.isdir(folder):
        remedy = 'Name the folder of the PNGs, as in data_prefix.seg of the dataset'
        findings.append(error(f'{evaluator}.seg_prefix: {folder} does not exist. {remedy}.'))
    return findings


def _check_options(
    evaluator: str, metric: Mapping, names: set[str], scope: str | None
) -> list[Finding]:
    """Report options of a metric that it does not take, and a metric whose figures can be wrong."""
    if 'CocoMetric' in names and 'CompleteCocoMetric' not in names:
        message = (
            f'{evaluator}: CocoMetric of MMDetection counts an annotation with the id 0 as not found, and computes mAP '
            'with 100 detections per image and class whatever proposal_nums says. '
        )
        return [
            warning(f"{message}Write type='CompleteCocoMetric', which takes the same arguments.")
        ]
    try:
        build_metric(metric, scope)
    except (LookupError, TypeError, ValueError) as reason:
        return [error(f'{evaluator}: {metric["type"]}: {reason.args[0]}')]
    return []


def check_save_best(config: Mapping, dataset: Any) -> list[Finding]:
    """Report figures of ``save_best`` and of EarlyStoppingHook that no validation gives.

    mmengine would end in a KeyError after the first validation.

    Args:
        dataset: The data set of the validation.
    """
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    chosen = hook.get('save_best')
    monitors = _find_monitors(config)
    metrics = list(_comparing_metrics(config.get('val_evaluator')))
    if not (chosen or monitors) or not metrics or not isinstance(dataset, BaseDataset):
        return []
    try:
        figures = list_figures(metrics, dataset.metainfo, config.get('default_scope'))
    except DataError as reason:
        return [error(f'val_evaluator: {reason}')]
    except (LookupError, TypeError, ValueError):
        return []  # reported with the options of the metric
    if not figures:
        return []
    listed = f'The validation gives {first_few(figures, 40)}.'
    unknown = [
        error(
            f'custom_hooks: EarlyStoppingHook waits for the figure {name}, which there will not be. {listed}'
        )
        for name in monitors
        if name not in figures
    ]
    return unknown + _check_chosen(chosen, hook, figures, listed)


def _find_monitors(config: Mapping) -> list[str]:
    """Return the figures that decide when a training stops."""
    hooks = [hook for hook in config.get('custom_hooks') or () if isinstance(hook, Mapping)]
    return [
        str(hook.get('monitor'))
        for hook in hooks
        if str(hook.get('type')).endswith('EarlyStoppingHook')
    ]


def _check_chosen(chosen: Any, hook: Mapping, figures: Sequence[str], listed: str) -> list[Finding]:
    """Report figures of ``save_best`` that are not among the figures of the validation."""
    field = 'default_hooks.checkpoint.save_best'
    if not chosen:
        return []
    if chosen in ('auto', ['auto']):
        return (
            [] if _has_rule(figures[0], hook) else [error(f'{field}={chosen!r} {NO_RULE} {listed}')]
        )
    names = [chosen] if isinstance(chosen, str) else chosen
    absent = [name for name in names if name not in figures]
    return (
        [error(f'{field}: there will be no figure {first_few(absent)}. {listed}')] if absent else []
    )


def _has_rule(figure: str, hook: Mapping) -> bool:
    """Tell whether CheckpointHook knows if larger values of a figure are better."""
    options = {name: hook[name] for name in ('rule', 'greater_keys', 'less_keys') if name in hook}
    try:
        CheckpointHook(save_best=figure, **options)
    except ValueError:
        return False
    return True


def _comparing_metrics(evaluators: Any) -> Iterator[Mapping]:
    """Yield the configs of metrics, also of those in an evaluator; not those that only write files."""
    listed = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    for metric in listed:
        inner = metric.get('metrics') if isinstance(metric, Mapping) else None
        if isinstance(inner, (list, tuple, Mapping)):
            yield from _comparing_metrics(inner)
        elif isinstance(metric, Mapping) and not metric.get('format_only'):
            yield metric


def _type_name(config: Any) -> str:
    return str(config.get('type')) if isinstance(config, Mapping) else ''


def _metric_names(metric: Mapping, scope: str | None) -> set[str]:
    """Return the names of the class of a metric and of its parents."""
    kind = metric.get('type')
    if isinstance(kind, str):
        with METRICS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    parents = {parent.__name__ for parent in getattr(kind, '__mro__', ())}
    return parents - BY_ORDER if parents & BY_NAME else parents


def _delivers_label_map(dataset: Any) -> bool:
    """Tell whether the first sample of a data set has a label map; a pipeline that fails is reported elsewhere."""
    if not isinstance(dataset, BaseDataset) or not len(dataset):
        return True
    with suppress(Exception), keeping_random_state():
        samples = dataset.prepare_data(0)['data_samples']
        first = samples[0] if isinstance(samples, list) else samples  # a list with augmentations
        return 'gt_sem_seg' in first
    return True


def _lists_images(dataset: Any) -> bool:
    """Whether a data set lists its images with ids, as data sets of COCO files do."""
    if not isinstance(dataset, BaseDataset) or not dataset.ann_file or not len(dataset):
        return False
    return {'img_id', 'img_path', 'width', 'height'} <= dataset.get_data_info(0).keys()
