"""Splits the images of one COCO file into training and validation, with the classes balanced."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..messages import DataError, plural
from .checks.json_file import read_coco

COPY_NAMES = r'(.+)_(?:jpe?g|png|bmp)\.rf\.[0-9a-f]+\.\w+'
"""Names of augmented copies, as annotation services write them: group 1 is the name of the original image."""

Labels = Sequence[Any]  # the category ids of the annotations of an image


def split_content(
    content: Mapping[str, Any], fraction: float, seed: int, group: str = COPY_NAMES
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a COCO file, instance or panoptic, by image.

    Args:
        content: The parsed file.
        fraction: Fraction of the images that the second part gets, between 0 and 1.
        seed: Seed of the order of the images.
        group: Regular expression. Images whose file names have the same first group stay together.

    Returns:
        Training and validation. Each image is in one part, together with its annotations. Categories are in both.

    Raises:
        DataError: There are fewer than two groups of images.
    """
    groups = _group_images(content['images'], group)
    if len(groups) < 2:
        raise DataError(
            f'{plural(len(content["images"]), "image")} in {plural(len(groups), "group")} cannot be split in two; '
            'add images, or choose another regular expression with --group'
        )
    labels = _collect_labels(content['annotations'])
    labels_of_groups = {
        name: [label for image in images for label in labels[image]]
        for name, images in groups.items()
    }
    chosen = choose_groups(labels_of_groups, fraction, seed)
    held_out = {image for name in chosen for image in groups[name]}
    training = _select(content, held_out, keep=False)
    validation = _select(content, held_out, keep=True)
    return training, validation


def choose_groups(groups: Mapping[str, Labels], fraction: float, seed: int) -> set[str]:
    """Choose groups for validation, rarest classes first, so that each class is divided by the fraction.

    This is iterative stratification (Sechidis et al., 2011) for two parts. A class of two or more groups is in
    both parts, as far as its groups are not needed for a rarer class.

    Args:
        groups: The labels of each group of images.
        fraction: Fraction of the groups to choose.
        seed: Seed of the order of the groups.
    """
    names = sorted(groups)
    random.Random(seed).shuffle(names)
    num_groups = Counter(label for name in names for label in set(groups[name]))
    missing = Counter({label: _share(count, fraction) for label, count in num_groups.items()})
    left = _share(len(names), fraction)
    chosen: set[str] = set()
    for label in sorted(num_groups, key=lambda label: (num_groups[label], str(label))):
        candidates = [name for name in names if label in groups[name] and name not in chosen]
        # Groups with classes that already have their share come last.
        candidates.sort(key=lambda name: sum(missing[other] <= 0 for other in set(groups[name])))
        added = candidates[: max(min(missing[label], left), 0)]
        chosen.update(added)
        left -= len(added)
        missing.subtract(other for name in added for other in set(groups[name]))
    empty_first = sorted(names, key=lambda name: bool(groups[name]))
    chosen.update([name for name in empty_first if name not in chosen][:left])
    return chosen


def count_objects(content: Mapping[str, Any]) -> dict[str, int]:
    """Count the objects, or panoptic segments, of every category by name, in the order of the file."""
    labels = _collect_labels(content['annotations'])
    counts = Counter(label for labels_of_image in labels.values() for label in labels_of_image)
    return {category['name']: counts[category['id']] for category in content['categories']}


def read_splittable(path: str) -> dict[str, Any]:
    """Read a COCO file that has what a split needs.

    Raises:
        DataError: It is no COCO file.
    """
    content = read_coco(path)
    for name in ('images', 'annotations', 'categories'):
        if not isinstance(content.get(name), list):
            raise DataError(f'{path}: there is no list {name!r}; a COCO file has it')
    return content


def _share(count: int, fraction: float) -> int:
    """Return the number of validation items out of ``count``: at least one on both sides if there are two."""
    if count < 2:
        return 0
    return min(max(round(count * fraction), 1), count - 1)


def _group_images(images: Sequence[Mapping[str, Any]], pattern: str) -> dict[str, list[Any]]:
    """Return the ids of the images of each group."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for image in images:
        match = re.fullmatch(pattern, image['file_name'])
        groups[match[1] if match else image['file_name']].append(image['id'])
    return groups


def _collect_labels(annotations: Sequence[Mapping[str, Any]]) -> dict[Any, list[Any]]:
    """Return the category ids of each image."""
    labels: dict[Any, list[Any]] = defaultdict(list)
    for annotation in annotations:
        segments = annotation.get('segments_info', [annotation])
        labels[annotation['image_id']] += [segment['category_id'] for segment in segments]
    return labels


def _select(content: Mapping[str, Any], images: Collection[Any], keep: bool) -> dict[str, Any]:
    """Return the file with only these images, or with all but these."""
    return dict(content) | {
        'images': [image for image in content['images'] if (image['id'] in images) == keep],
        'annotations': [
            annotation
            for annotation in content['annotations']
            if (annotation['image_id'] in images) == keep
        ],
    }
