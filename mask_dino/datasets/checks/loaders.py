"""All checks of data and classes before the first step, together."""

from collections.abc import Mapping, Sized
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from ...messages import DataError, Finding, error, error_messages, warning
from ..coco import NO_IMAGE_LEFT, check_annotation_file, comparing_all_masks, reads_coco
from ..panoptic import check_maps, check_panoptic_file, reads_panoptic
from .categories import SEMANTIC_HEADS, check_heads, check_same_classes
from .components import loop_problems
from .config import (
    check_resumable,
    config_problems,
    leaf_datasets,
    old_sections,
    read_metainfo,
)
from .evaluators import check_evaluator, check_save_best, compares_results
from .label_maps import check_label_maps, check_same_labels, reads_label_maps
from .pipelines import check_narrow_images, check_pipelines, check_train_and_test_sizes
from .statistics import check_images, check_objects, check_overlap, check_samples, survey
from .training import check_batches, check_training

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
NO_TEST_MODE = 'the dataset is not in test mode, and would leave out or replace images. Write test_mode=True in it.'
CHECKED_HEADS = ('panoptic_head', 'panoptic_fusion_head', *SEMANTIC_HEADS)


@comparing_all_masks()
def check_config(config: Mapping, decode: bool) -> list[Finding]:
    """Build and check the data sets of a config, and compare all masks with their boxes.

    Args:
        decode: Whether to decode all images, which takes long.
    """
    datasets: dict[str, Any] = {}
    findings = [error(problem) for problem in config_problems(config, [])]
    for loader in filter(config.get, LOADERS):
        same = [other for other in datasets if config[other] == config[loader]]
        if same:
            datasets[loader] = datasets[same[0]]
            continue
        problems = config_problems(config, [loader]) or build_problems(config, loader, datasets)
        findings += [error(problem) for problem in problems]
    findings += check_loaders(datasets, config, config.get('model'), decode)
    return list(dict.fromkeys(findings))


def build_problems(config: Mapping, loader: str, datasets: dict[str, Any]) -> list[str]:
    """Build the data set of a loader into ``datasets``, or say why it cannot be built."""
    try:
        datasets[loader] = DATASETS.build(config[loader]['dataset'])
    except DataError as reason:
        return [f'{loader}: {reason}']
    except Exception as reason:  # a data set of any kind may fail in any way
        return [f'{loader}: the data set cannot be built: {type(reason).__name__}: {reason}']
    return []


def check_loaders(
    datasets: Mapping[str, Any], config: Mapping, model: Any, decode: bool = False
) -> list[Finding]:
    """Check data sets and their classes against one another, the evaluators' files and the model's heads.

    Args:
        datasets: By the names of their loaders in the config, such as ``train_dataloader``.
        config: The whole config.
        model: The model, or its config.
        decode: Whether to decode all images and maps; otherwise some, evenly spread.
    """
    metainfos = {loader: read_metainfo(dataset) for loader, dataset in datasets.items()}
    heads = {name: head for name in CHECKED_HEADS if (head := getattr(model, name, None))}
    scope = config.get('default_scope')
    findings = [warning(problem) for problem in old_sections(config)]
    findings += [error(problem) for problem in loop_problems(config, filter(config.get, datasets))]
    checked: list[Any] = []
    for loader, dataset in datasets.items():
        evaluators = config.get(loader.replace('dataloader', 'evaluator'))
        if all(dataset is not other for other in checked):
            is_compared = 'train' not in loader and compares_results(evaluators, scope)
            findings += check_leaves(loader, dataset, is_compared, decode)
            findings += check_heads(heads, metainfos[loader])
        checked.append(dataset)
        findings += check_evaluator(loader, dataset, evaluators, scope)
    findings += check_same_classes(metainfos) + check_overlap(datasets)
    findings += check_same_labels(datasets)
    for loader, dataset in datasets.items():
        findings += check_parts(loader, dataset)
    findings += check_train_and_test_sizes(datasets)
    findings += check_pipelines(config)
    if 'train_dataloader' in datasets:
        findings += check_resumable(config)
        findings += check_training(config)
        findings += check_batches(config, datasets['train_dataloader'])
        findings += check_save_best(config, datasets.get('val_dataloader'))
    return list(dict.fromkeys(findings))  # data sets can share a file, and so its faults


def check_parts(loader: str, dataset: Any) -> list[Finding]:
    """Compare the classes of data sets that are joined to one."""
    parts = enumerate(leaf_datasets(dataset))
    return check_same_classes(
        {f'{loader}.dataset.datasets[{index}]': read_metainfo(part) for index, part in parts}
    )


def check_leaves(loader: str, dataset: Any, is_compared: bool, decode: bool) -> list[Finding]:
    """Check each of the data sets inside wrappers.

    Args:
        is_compared: Whether results are compared with its annotations.
        decode: Whether to decode all images and maps; otherwise some, evenly spread.
    """
    findings = []
    leaves = list(leaf_datasets(dataset))
    if leaves != [dataset] and isinstance(dataset, Sized) and not len(dataset):
        return [
            error(
                f'{loader}: the data set has no image. Correct times or indices of {type(dataset).__name__}.'
            )
        ]
    for leaf in leaves:
        findings += check_dataset(loader, leaf, is_compared, decode)
    return findings


def check_dataset(loader: str, dataset: Any, is_compared: bool, decode: bool) -> list[Finding]:
    """Check the file and the images of one data set; data sets of unknown kinds are not checked."""
    findings = check_file(dataset)
    if isinstance(dataset, CocoDataset) and 'train' not in loader and not dataset.test_mode:
        findings.append(warning(f'{loader}: {NO_TEST_MODE}'))
    if isinstance(dataset, BaseDataset) and not len(dataset):
        return [*findings, error(f'{loader}: {NO_IMAGE_LEFT.format(dataset.ann_file)}')]
    if not is_surveyed(dataset) or error_messages(findings):
        return findings
    summary = survey(dataset)
    findings += check_images(summary, decode)
    findings += check_narrow_images(loader, dataset, summary.paths, summary.sizes)
    if reads_panoptic(dataset) and not error_messages(findings):
        findings += check_maps(dataset, decode)
    if reads_label_maps(dataset) and not error_messages(findings):
        findings += check_label_maps(loader, dataset, decode)
    if reads_file(dataset):
        findings += check_objects(loader, dataset, summary, is_compared)
    return findings if error_messages(findings) else findings + check_samples(loader, dataset)


def check_file(dataset: Any) -> list[Finding]:
    """Check the annotation file of a data set.

    Raises:
        DataError: There is no such file, or it is not JSON.
    """
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
