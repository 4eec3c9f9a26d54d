"""Everything that can be known of data and classes before the first step."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from ...messages import DataError, Finding, error, error_messages, first_few, is_url
from ..coco import check_annotation_file, reads_coco
from ..panoptic import check_maps, check_panoptic_file, reads_panoptic
from .coco_file import SEMANTIC_HEADS, check_heads, check_same_classes, read_coco
from .images import folder_problems
from .label_maps import check_label_maps, reads_label_maps
from .statistics import check_images, check_objects, survey
from .transforms import check_mask_transforms

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
HEADS = ('panoptic_head', 'panoptic_fusion_head', *SEMANTIC_HEADS)
METRICS = (
    'CocoMetric',
    'CompleteCocoMetric',
    'PanopticQualityMetric',
    'PanopticIoUMetric',
    'StuffAPMetric',
    'ThingAPMetric',
)


def check_config(config: Mapping, decode: bool) -> list[Finding]:
    """Build and check the data sets of a config.

    Args:
        decode: Whether to decode all images, which takes long.
    """
    datasets: dict[str, Any] = {}
    findings = []
    for loader in LOADERS:
        if not config.get(loader) or config[loader] in [config[other] for other in datasets]:
            continue
        if problems := folder_problems(config, [loader]):
            findings += [error(problem) for problem in problems]
            continue
        try:
            datasets[loader] = DATASETS.build(config[loader]['dataset'])
        except DataError as reason:
            findings.append(error(f'{loader}: {reason}'))
    return findings + check_loaders(datasets, config, config.get('model'), decode)


def check_loaders(datasets: Mapping[str, Any], config: Mapping, model: Any, decode: bool = False) -> list[Finding]:
    """Check data sets and their classes against one another, the evaluators' files and the model's heads.

    Args:
        datasets: By the names of their loaders in the config, such as ``train_dataloader``.
        config: The whole config.
        model: The model, or its config.
        decode: As for :func:`check_config`.
    """
    metainfos = {loader: getattr(dataset, 'metainfo', {}) for loader, dataset in datasets.items()}
    heads = {name: head for name in HEADS if (head := getattr(model, name, None))}
    findings = []
    for loader, dataset in datasets.items():
        for part in leaves(dataset):
            findings += check_dataset(loader, part, decode)
        findings += check_heads(heads, metainfos[loader])
        findings += check_evaluator(loader, dataset, config.get(loader.replace('dataloader', 'evaluator')))
    findings += check_same_classes(metainfos)
    findings += check_mask_transforms(config)
    return list(dict.fromkeys(findings))  # data sets may share files and faults


def leaves(dataset: Any) -> Iterator[Any]:
    """Yield the data sets inside wrappers such as ConcatDataset, RepeatDataset and ClassBalancedDataset."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from leaves(part)
    elif hasattr(dataset, 'dataset'):
        yield from leaves(dataset.dataset)
    else:
        yield dataset


def check_dataset(loader: str, dataset: Any, decode: bool) -> list[Finding]:
    """Check the file and the images of one data set; of kinds that are not known, nothing is said."""
    findings = check_file(dataset)
    if not is_surveyed(dataset) or error_messages(findings):
        return findings
    found = survey(dataset)
    findings += check_images(found, decode)
    if reads_panoptic(dataset) and not error_messages(findings):
        findings += check_maps(dataset, decode)
    if reads_label_maps(dataset) and not error_messages(findings):
        findings += check_label_maps(dataset, decode)
    return findings + (check_objects(loader, dataset, found) if reads_file(dataset) else [])


def check_file(dataset: Any) -> list[Finding]:
    """Check the annotation file of a data set."""
    if reads_panoptic(dataset):
        return check_panoptic_file(dataset)
    return check_annotation_file(dataset) if reads_coco(dataset) else []


def reads_file(dataset: Any) -> bool:
    """Tell whether a data set reads an annotation file in a known format."""
    return reads_coco(dataset) or reads_panoptic(dataset)


def is_surveyed(dataset: Any) -> bool:
    """Tell whether a data set lists image files one by one."""
    known = isinstance(dataset, BaseDataset) and len(dataset) > 0
    return known and isinstance(dataset.get_data_info(0).get('img_path'), str)


def check_evaluator(loader: str, dataset: Any, evaluators: Any) -> list[Finding]:
    """Find out early that an evaluator reads an annotation file with other images than its data set, or no maps."""
    metrics = [evaluators] if isinstance(evaluators, Mapping) else evaluators or []
    comparing = [metric for metric in metrics if metric['type'] in METRICS and not metric.get('format_only')]
    fields = ('ann_file', 'seg_prefix')
    files, folders = (dict.fromkeys(metric[field] for metric in comparing if metric.get(field)) for field in fields)
    if not reads_file(dataset):
        return []
    findings = [finding for file in files for finding in _compare_files(loader, dataset, file)]
    absent = [folder for folder in folders if not is_url(folder) and not os.path.isdir(folder)]
    field = f'{loader.replace("dataloader", "evaluator")}.seg_prefix'
    remedy = f'Name the folder of the PNGs, that of data_prefix.seg of {loader}'
    return findings + [error(f'{field}: {folder} does not exist. {remedy}.') for folder in absent]


def _compare_files(loader: str, dataset: Any, file: str) -> list[Finding]:
    field = f'{loader.replace("dataloader", "evaluator")}.ann_file'
    if os.path.realpath(file) == os.path.realpath(dataset.ann_file):
        return []
    try:
        known = {image['id'] for image in read_coco(file)['images']}
    except (DataError, LookupError, TypeError) as reason:
        return [error(f'{field}: {file} cannot be read: {reason}')]
    ids = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]
    if not (missing := [number for number in ids if number not in known]):
        return []
    return [
        error(
            f'{field} is {file}, which lacks {len(missing)} images of {dataset.ann_file}, the ann_file of {loader}: '
            f'{first_few(missing, 3)}. Name the same file in both.'
        )
    ]
