"""Counts the images and the objects of a data set, and checks its image files."""

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmengine.dataset import BaseDataset

from ...messages import (
    DataError,
    Finding,
    error,
    first_few,
    is_url,
    note,
    plural,
    spread_evenly,
    warning,
)
from ...random_state import keeping_random_state
from .config import leaf_datasets
from .images import check_depth, check_presence, image_problem

READ_HEADERS = 2000
"""Images of a data set, evenly spread, whose headers are read beforehand; the others are checked when loaded."""
TRIED_SAMPLES = 20
"""Images of a data set, evenly spread; at least one of them must pass the pipeline."""


class Survey(NamedTuple):
    """What a data set delivers."""

    paths: list[str]
    sizes: list[tuple[int, int] | None]  # width and height, where the annotations give them
    maps: list[str]  # files with the class or segment of every pixel
    objects: Counter[int]  # by label, stuff included where it is annotated, without crowds
    crowds: list[str]  # the images of crowds, once for each crowd
    empty: list[str]  # the images without objects


def survey(dataset: BaseDataset) -> Survey:
    """Go through a data set without loading its images."""
    summary = Survey([], [], [], Counter(), [], [])
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path = info['img_path']
        labels, crowds = _count_objects(info)
        summary.objects.update(labels)
        summary.crowds.extend([path] * crowds)
        summary.paths.append(path)
        summary.sizes.append(
            (info['width'], info['height']) if 'width' in info and 'height' in info else None
        )
        if info.get('seg_map_path'):
            summary.maps.append(info['seg_map_path'])
        if not labels:
            summary.empty.append(path)
    return summary


def _count_objects(info: dict) -> tuple[list[int], int]:
    """Return the labels of the objects of one image, and the number of its crowds."""
    if 'segments_info' not in info:
        instances = info.get('instances', ())
        objects = [instance for instance in instances if not instance['ignore_flag']]
        labels = [instance['bbox_label'] for instance in objects]
        return labels, len(instances) - len(objects)
    segments = [segment for segment in info['segments_info'] if segment['category'] is not None]
    objects = [segment for segment in segments if not segment.get('iscrowd')]
    labels = [segment['category'] for segment in objects]
    return labels, len(segments) - len(objects)


def check_images(summary: Survey, decode: bool) -> list[Finding]:
    """Report image files that are missing or damaged.

    Args:
        decode: Whether to decode all images; otherwise the headers of some are read.
    """
    if findings := check_presence([*summary.paths, *summary.maps]):
        return findings
    pairs = zip(summary.paths, summary.sizes, strict=True)
    images = [(path, size) for path, size in pairs if size and not is_url(path)]
    limit = len(images) if decode else READ_HEADERS
    looked_at = [images[index] for index in spread_evenly(len(images), limit)]
    problems = [image_problem(path, size, decode) for path, size in looked_at]
    problems = [problem for problem in problems if problem]
    findings = check_depth(summary.paths)
    if not problems:
        return findings
    count = plural(len(problems), 'image')
    sample = (
        f' among {plural(len(looked_at), "image")} looked at'
        if len(looked_at) < len(images)
        else ''
    )
    return [error(f'{count} damaged or unfit{sample}: {first_few(problems, 3, "; ")}'), *findings]


def check_objects(loader: str, dataset: Any, summary: Survey, is_compared: bool) -> list[Finding]:
    """Count images and objects, and report classes that have none.

    Args:
        is_compared: Whether results are compared with the annotations.
    """
    classes, file = dataset.metainfo['classes'], dataset.ann_file
    images = f'{plural(len(summary.paths), "image")}, {len(summary.empty)} of them without objects'
    objects = f'{plural(summary.objects.total(), "object")} of {len(summary.objects)} of {len(classes)} classes'
    counts = (
        f'{loader}: {images}; {objects}, {plural(len(summary.crowds), "crowd")} left out ({file})'
    )
    is_used = is_compared or not dataset.test_mode
    if is_used and not summary.objects:
        purpose = 'evaluate' if dataset.test_mode else 'learn from'
        remedy = 'Does the file hold annotations that are not crowds (iscrowd: 0), and does metainfo.classes name '
        remedy += (
            'their categories? A test without annotations needs format_only=True in the evaluator.'
        )
        return [error(f'{counts}: there is nothing to {purpose}. {remedy}')]
    findings = [note(counts)]
    absent = [name for label, name in enumerate(classes) if not summary.objects[label]]
    if absent and not dataset.test_mode:
        message = f'{loader}: {file} has no object of {first_few(absent)}: such classes will not be learnt'
        findings.append(warning(message))
    return findings


def check_samples(loader: str, dataset: BaseDataset) -> list[Finding]:
    """Load images until one passes the pipeline; report a pipeline that fails, or that leaves all images out."""
    indices = spread_evenly(len(dataset), TRIED_SAMPLES)
    try:
        with keeping_random_state():
            is_usable = any(dataset.prepare_data(index) is not None for index in indices)
    except Exception as reason:  # a pipeline of any kind may fail in any way
        described = (
            str(reason) if isinstance(reason, DataError) else f'{type(reason).__name__}: {reason}'
        )
        remedy = 'Correct the order or the options of its transforms.'
        return [error(f'{loader}: the pipeline fails. {described}. {remedy}')]
    if is_usable:
        return []
    count = plural(len(indices), 'image')
    remedy = 'FilterAnnotations or a crop removes all of their objects: correct its options, or write keep_empty=False.'
    return [error(f'{loader}: the pipeline leaves out each of {count} looked at. {remedy}')]


def check_overlap(datasets: Mapping[str, Any]) -> list[Finding]:
    """Report images of validation and testing from which the model also learns."""
    if 'train_dataloader' not in datasets:
        return []
    known = _image_paths(datasets['train_dataloader'])
    findings = []
    for loader, dataset in datasets.items():
        paths = _image_paths(dataset)
        if loader == 'train_dataloader' or known.isdisjoint(paths):
            continue
        shared = sorted(known & paths)
        message = (
            f'{loader}: {len(shared)} of {plural(len(paths), "image")} are also training images: '
        )
        remedy = 'The figures will be better than on new images. Use other images, unless this is intended.'
        findings.append(warning(f'{message}{first_few(shared, 2)}. {remedy}'))
    return findings


def _image_paths(dataset: Any) -> set[str]:
    """Return the files of a data set, as absolute paths; data sets of unknown kinds have none."""
    paths: set[str] = set()
    for leaf in leaf_datasets(dataset):
        if isinstance(leaf, BaseDataset):
            infos = (leaf.get_data_info(index) for index in range(len(leaf)))
            paths.update(os.path.abspath(info['img_path']) for info in infos if 'img_path' in info)
    return paths
