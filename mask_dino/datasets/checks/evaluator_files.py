"""Compare the annotation file of an evaluator with the data set that it evaluates."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.dataset import BaseDataset

from ...messages import DataError, Finding, error, error_messages, first_few, plural, warning
from ..coco import NamedFailures, loads_masks
from .annotations import Usage
from .categories import check_categories
from .coco_file import check_annotations, check_lists, check_structure
from .json_file import read_coco

SAME_FILE = 'Name the same file in both.'
MOST = 0.5
"""Share of the images from which other objects mean another file, and not corrections."""


def check_evaluator_file(
    field: str, metric: Mapping, leaves: Sequence[BaseDataset], by_name: bool
) -> list[Finding]:
    """Compare the file of a metric with the data sets that it evaluates.

    Args:
        field: The setting with the file.
        metric: The config of the metric.
        by_name: Whether the metric finds the classes of its file by name.
    """
    file = metric['ann_file']
    is_same = all(os.path.realpath(file) == os.path.realpath(leaf.ann_file) for leaf in leaves)
    has_seen_masks = 'segm' not in metric.get('metric', ()) or any(map(loads_masks, leaves))
    if is_same and (by_name or has_seen_masks):
        return []
    try:
        if is_same:
            return _check_objects(field, read_lists(file), metric)
        return _compare_file(field, metric, leaves, by_name)
    except DataError as reason:
        return [error(f'{field}: {reason}')]
    except (LookupError, TypeError) as reason:
        return [error(f'{field}: {file} cannot be read: {reason}')]


def _compare_file(
    field: str, metric: Mapping, leaves: Sequence[BaseDataset], by_name: bool
) -> list[Finding]:
    file, dataset = metric['ann_file'], leaves[0]
    content = read_lists(file)
    images = {image['id']: image for image in content['images']}
    infos = [leaf.get_data_info(index) for leaf in leaves for index in range(len(leaf))]
    findings = _compare_images(field, file, infos, images, dataset.ann_file)
    findings += _compare_classes(field, file, content, dataset.metainfo, by_name)
    if not by_name:
        findings += _check_objects(field, content, metric)
    return findings or _compare_objects(field, content, infos, dataset)


def read_lists(file: str) -> dict:
    """Read the file of a metric, which has lists of images, annotations and categories.

    Raises:
        DataError: The file cannot be read, or has no such lists.
    """
    content = read_coco(file)
    if isinstance(content, dict):
        content = dict(annotations=[]) | content
    # Annotations of panoptic files have no ids.
    problems = check_lists(content, file) or check_structure(dict(content, annotations=[]), file)
    if problems:
        raise DataError(*error_messages(problems))
    return content


def _compare_classes(
    field: str, file: str, content: Mapping, metainfo: Mapping, by_name: bool
) -> list[Finding]:
    """Compare the categories of a metric's file with the classes of the data set."""
    names = [category['name'] for category in content['categories']]
    classes = metainfo.get('classes') or ()
    if set(names).isdisjoint(metainfo.get('stuff_classes', classes)):
        # An instance file of panoptic data has only the things.
        classes = metainfo.get('thing_classes', classes)
    if by_name and set(classes) <= set(names):
        return []
    # Counts of what is left out belong to the file of the data set.
    compared = dict(content, annotations=[])
    findings = check_categories(compared, file, classes)
    return [error(f'{field}: {message}') for _, message in findings]


def _compare_images(
    field: str, file: str, infos: Sequence[Mapping], images: Mapping[Any, Mapping], data_file: str
) -> list[Finding]:
    """Compare the images of data sets with the images in a metric's file, by id, name and size."""
    missing = [info['img_id'] for info in infos if info['img_id'] not in images]
    if missing:
        message = f'{field} is {file}, which lacks {len(missing)} images of {data_file}, the ann_file of the data set: '
        return [error(f'{message}{first_few(missing, 3)}. {SAME_FILE}')]

    pairs = [(info, images[info['img_id']]) for info in infos]
    differing = [
        _describe_pair(info, image) for info, image in pairs if not _is_same_image(info, image)
    ]
    if differing:
        message = f'{field} is {file}, which has other images than {data_file} under {plural(len(differing), "id")}: '
        return [error(f'{message}{first_few(differing, 2, "; ")}. {SAME_FILE}')]

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


def check_delivery(field: str, file: str, leaves: Sequence[BaseDataset]) -> list[Finding]:
    """Report images of a metric's file that the data sets do not deliver: their objects count as missed."""
    try:
        listed = _count_listed(file, leaves)
    except (DataError, LookupError, TypeError):
        return []  # reported already
    surplus = listed - sum(map(len, leaves))
    if surplus <= 0:
        return []
    message = f'{field}: {file} has {plural(surplus, "image")} that the data set does not deliver. '
    remedy = 'Give the evaluator a file of these images only; indices and filter_cfg of the dataset leave images out.'
    return [warning(f'{message}The metric counts their objects as missed. {remedy}')]


def check_delivered_truth(field: str, leaves: Sequence[BaseDataset]) -> list[Finding]:
    """Report a metric without a file whose data set does not deliver annotations either."""
    last = [leaf.pipeline.transforms[-1] for leaf in leaves if leaf.pipeline.transforms]
    if all('instances' in getattr(transform, 'meta_keys', ()) for transform in last):
        return []
    message = f'{field} is missing, and the pipeline does not deliver annotations. '
    return [error(f'{message}Name the ann_file of the data set in the evaluator.')]


def _count_listed(file: str, leaves: Sequence[BaseDataset]) -> int:
    """Count the images of a file; if a data set of ours has read the file, take its count."""
    for leaf in leaves:
        is_same = os.path.realpath(file) == os.path.realpath(leaf.ann_file)
        if is_same and isinstance(leaf, NamedFailures):
            return leaf.num_listed
    return len(read_coco(file)['images'])


def _check_objects(field: str, content: dict, metric: Mapping) -> list[Finding]:
    """Report objects that the metric cannot evaluate."""
    file = metric['ann_file']
    kinds = metric.get('metric', 'bbox')
    with_masks = 'segm' in kinds
    usage = Usage(with_masks, skips_masks=False, evaluation=True)
    findings = check_structure(content, file)
    if not findings:
        findings = check_annotations(content, file, usage)
    messages = error_messages(findings)
    return [error(f'{field}: {message}') for message in messages]


def _compare_objects(
    field: str, content: Mapping, infos: Sequence[Mapping], dataset: BaseDataset
) -> list[Finding]:
    """Report a file whose objects are not the objects of the data set: images of other splits can have equal names."""
    is_panoptic = any('segments_info' in info for info in infos)
    keys = _object_keys(content, dataset.metainfo.get('classes') or ())
    if is_panoptic != any('segments_info' in entry for entry in content['annotations']):
        return []  # an instance file beside panoptic data has other objects by intention
    compared = [(info, own) for info in infos if (own := set(_keys_of_data(info)))]
    differing = [info['img_path'] for info, own in compared if not own <= keys[info['img_id']]]
    if not differing:
        return []
    count = f'{len(differing)} of {plural(len(compared), "image")}'
    message = f'{field}: the file has other objects than {dataset.ann_file} in {count}: {first_few(differing, 2)}. '
    is_other = len(differing) > MOST * len(compared)
    return [(error if is_other else warning)(f'{message}{SAME_FILE}')]


def _keys_of_data(info: Mapping) -> Iterator[Any]:
    """Yield what identifies the objects of an image: the ids of segments, or labels and rounded boxes."""
    if 'segments_info' in info:
        yield from (segment['id'] for segment in info['segments_info'])
    else:
        for instance in info.get('instances', ()):
            yield (instance['bbox_label'], *map(round, instance['bbox']))


def _object_keys(content: Mapping, classes: Sequence[str]) -> Mapping[Any, set]:
    """Return the same for the objects of a file, by the ids of their images."""
    labels = {name: label for label, name in enumerate(classes)}
    categories = {
        category['id']: labels.get(category['name']) for category in content['categories']
    }
    keys: defaultdict[Any, set] = defaultdict(set)
    for entry in content['annotations']:
        keys_of_image = keys[entry.get('image_id')]
        if 'segments_info' in entry:
            segments = entry['segments_info']
            keys_of_image.update(
                segment.get('id') for segment in segments if isinstance(segment, dict)
            )
        elif len(entry.get('bbox') or ()) == 4:
            x, y, w, h = entry['bbox']
            keys_of_image.add(
                (categories.get(entry.get('category_id')), *map(round, (x, y, x + w, y + h)))
            )
    return keys
