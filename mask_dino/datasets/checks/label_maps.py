"""Label maps of semantic segmentation that do not fit their images or classes."""

from typing import Any

import mmcv
import numpy as np
from mmengine.dataset import BaseDataset

from ...messages import Finding, error, first_few, is_url, plural, spread_evenly
from .images import COPY_AGAIN, file_problem, header_size, image_problem

MAPS = 200
"""Label maps of a data set, evenly spread, that are read beforehand; of the others, labels are checked in training."""


def reads_label_maps(dataset: Any) -> bool:
    """Tell whether a data set is one of mmseg's, which say what becomes of the labels in the files."""
    return isinstance(dataset, BaseDataset) and hasattr(dataset, 'reduce_zero_label')


def check_label_maps(dataset: Any, decode: bool) -> list[Finding]:
    """Report label maps of a data set, and their images, that cannot be used.

    Args:
        decode: Whether to look at all of them; otherwise at some.
    """
    indices = spread_evenly(len(dataset), len(dataset) if decode else MAPS)
    infos = [dataset.get_data_info(index) for index in indices]
    classes = dataset.metainfo.get('classes') or ()
    allowed = allowed_labels(len(classes), dataset.label_map, dataset.reduce_zero_label, dataset.ignore_index)
    local = [info for info in infos if info.get('seg_map_path') and not is_url(info['seg_map_path'])]
    unread = [problem for info in local if (problem := unread_image(info['img_path'], decode))]
    problems = [problem for info in local if (problem := map_problem(info, allowed if classes else None))]
    return [
        error(f'{plural(len(found), noun)} of {len(local)} looked at: {first_few(found, 3, "; ")}')
        for noun, found in (('image', unread), ('label map', problems))
        if found
    ]


def unread_image(path: str, decode: bool) -> str | None:
    """Say what keeps an image from being loaded; its size is that of its label map, or is none."""
    size = header_size(path)
    return image_problem(path, size, decode) if size else file_problem(path)


def allowed_labels(num_classes: int, label_map: dict | None, reduce_zero_label: bool, ignore_index: int) -> set[int]:
    """Return the labels that files may have, given what mmseg turns them into."""
    if reduce_zero_label:  # 0 becomes 255, and the others move down
        return {0, *range(1, num_classes + 1), 255}
    known = {*range(num_classes), ignore_index}
    if label_map is None:
        return known
    unchanged = {label for label in known if label not in label_map}
    return unchanged | {old for old, new in label_map.items() if new in known}


def map_problem(info: dict, allowed: set[int] | None) -> str | None:
    """Say what is wrong with the label map of an image.

    Args:
        info: What the data set says of the image.
        allowed: Labels that the file may have; None where the classes are not known.
    """
    path = info['seg_map_path']
    try:
        labels = mmcv.imread(path, 'unchanged', backend='pillow')
    except (OSError, ValueError, SyntaxError) as reason:
        return f'{path} cannot be decoded ({reason}); {COPY_AGAIN}'
    labels = np.squeeze(labels)
    if labels.ndim != 2:
        return (
            f'{path} is an image of colours, {labels.shape[-1]} channels of them: save the index of the class of every '
            'pixel, in one channel'
        )
    size, image_size = labels.shape[::-1], header_size(info['img_path'])
    if image_size not in (None, size):
        return f'{path} is {size[0]} x {size[1]} pixels, its image {info["img_path"]} {image_size[0]} x {image_size[1]}'
    strange = [] if allowed is None else sorted(set(np.unique(labels).tolist()) - allowed)
    remedy = 'add classes, correct reduce_zero_label or the map'
    return f'{path} has the labels {first_few(strange, 5)}, which no class has: {remedy}' if strange else None
