"""Check that evaluators use the annotation file of their data set."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.hooks import CheckpointHook
from mmengine.registry import METRICS

from ...evaluation.figure_names import list_figures
from ...messages import DataError, Finding, error, first_few, is_url, plural, warning
from .categories import check_categories
from .coco_file import read_coco
from .config import leaf_datasets

BY_ORDER = {'CocoMetric', 'CocoPanopticMetric'}
"""Metrics that number the classes in the order of their file."""
BY_NAME = {'PanopticAPMetric', 'PanopticQualityMetric', 'PanopticIoUMetric'}
"""Metrics that find the classes of their file by name."""


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
    leaves = [leaf for leaf in leaf_datasets(dataset) if _lists_images(leaf)]
    findings = []
    for index, metric in enumerate(_comparing_metrics(evaluators)):
        names = _metric_names(metric, scope)
        if not leaves or not names & (BY_ORDER | BY_NAME):
            continue
        one_each = 'MultiDatasetsEvaluator' in _type_name(evaluators) and index < len(leaves)
        parts = leaves[index : index + 1] if one_each else leaves
        if metric.get('ann_file'):
            findings += _check_file(
                f'{evaluator}.ann_file', metric['ann_file'], parts, bool(names & BY_NAME)
            )
        folder = metric.get('seg_prefix')
        if folder and not is_url(folder) and not os.path.isdir(folder):
            remedy = f'Name the folder of the PNGs, as in data_prefix.seg of {loader}'
            findings.append(error(f'{evaluator}.seg_prefix: {folder} does not exist. {remedy}.'))
    return findings


def check_save_best(config: Mapping, dataset: Any) -> list[Finding]:
    """Report figures of ``save_best`` that no validation gives.

    mmengine would end in a KeyError after the first validation.

    Args:
        dataset: The data set of the validation.
    """
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    chosen = hook.get('save_best')
    metrics = list(_comparing_metrics(config.get('val_evaluator')))
    if not chosen or not metrics or not isinstance(dataset, BaseDataset):
        return []
    field = 'default_hooks.checkpoint.save_best'
    try:
        figures = list_figures(metrics, dataset.metainfo, config.get('default_scope'))
    except DataError as reason:
        return [error(f'val_evaluator: {reason}')]
    if not figures:
        return []
    listed = f'The validation gives {first_few(figures, 40)}.'
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
        if isinstance(metric, Mapping) and 'metrics' in metric:
            yield from _comparing_metrics(metric['metrics'])
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


def _lists_images(dataset: Any) -> bool:
    """Whether a data set lists its images with ids, as data sets of COCO files do."""
    if not isinstance(dataset, BaseDataset) or not dataset.ann_file or not len(dataset):
        return False
    return {'img_id', 'img_path', 'width', 'height'} <= dataset.get_data_info(0).keys()


def _check_file(
    field: str, file: str, leaves: Sequence[BaseDataset], by_name: bool
) -> list[Finding]:
    """Compare the file of a metric with the data sets that it evaluates."""
    if all(os.path.realpath(file) == os.path.realpath(leaf.ann_file) for leaf in leaves):
        return []
    try:
        content = dict(annotations=[]) | read_coco(file)
        images = {image['id']: image for image in content['images']}
        names = [category['name'] for category in content['categories']]
    except (DataError, LookupError, TypeError) as reason:
        return [error(f'{field}: {file} cannot be read: {reason}')]
    infos = [leaf.get_data_info(index) for leaf in leaves for index in range(len(leaf))]
    findings = _compare_images(field, file, infos, images, leaves[0].ann_file)
    metainfo = leaves[0].metainfo
    classes = metainfo.get('classes') or ()
    if set(names).isdisjoint(metainfo.get('stuff_classes', classes)):
        # An instance file of panoptic data has only the things.
        classes = metainfo.get('thing_classes', classes)
    if by_name and set(classes) <= set(names):
        return findings
    # Counts of what is left out belong to the file of the data set.
    compared = content | dict(annotations=[])
    return findings + [
        error(f'{field}: {message}') for _, message in check_categories(compared, file, classes)
    ]


def _compare_images(
    field: str, file: str, infos: Sequence[Mapping], images: Mapping[Any, Mapping], data_file: str
) -> list[Finding]:
    """Compare the images of data sets with the images in a metric's file, by id, name and size."""
    remedy = 'Name the same file in both.'
    missing = [info['img_id'] for info in infos if info['img_id'] not in images]
    if missing:
        message = f'{field} is {file}, which lacks {len(missing)} images of {data_file}, the ann_file of the data set: '
        return [error(f'{message}{first_few(missing, 3)}. {remedy}')]

    pairs = [(info, images[info['img_id']]) for info in infos]
    differing = [
        _describe_pair(info, image) for info, image in pairs if not _is_same_image(info, image)
    ]
    if differing:
        message = f'{field} is {file}, which has other images than {data_file} under {plural(len(differing), "id")}: '
        return [error(f'{message}{first_few(differing, 2, "; ")}. {remedy}')]

    surplus = len(images) - len(infos)
    if surplus > 0:
        message = (
            f'{field}: {file} has {plural(surplus, "image")} that the data set does not deliver. '
        )
        return [warning(f'{message}A metric may count their objects as missed. {remedy}')]
    return []


def _is_same_image(info: Mapping, image: Mapping) -> bool:
    """Compare names and sizes, where the file of the metric has them."""
    name = os.path.basename(info['img_path'])
    width = info['width']
    height = info['height']
    if os.path.basename(image.get('file_name', name)) != name:
        return False
    return image.get('width', width) == width and image.get('height', height) == height


def _describe_pair(info: Mapping, image: Mapping) -> str:
    in_data = f'{info["img_path"]} ({info["width"]} x {info["height"]})'
    in_metric = f'{image.get("file_name")} ({image.get("width")} x {image.get("height")})'
    return f'{info["img_id"]} is {in_data}, but {in_metric} there'
