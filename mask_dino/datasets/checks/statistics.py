"""What a data set delivers: its images and its objects, counted."""

from collections import Counter
from typing import Any, NamedTuple

from mmengine.dataset import BaseDataset

from ...messages import Finding, error, first_few, is_url, note, plural, spread_evenly, warning
from .images import check_presence, image_problem

HEADERS = 2000
"""Images of a data set, evenly spread, whose headers are read beforehand; the others are checked when loaded."""


class Survey(NamedTuple):
    """What a data set delivers."""

    paths: list[str]
    sizes: list[tuple[int, int] | None]  # width and height, where the annotations give them
    maps: list[str]  # files with the class or segment of every pixel
    objects: Counter[int]  # by label, stuff included where it is annotated, crowds aside
    empty: list[str]  # those of the images without objects


def survey(dataset: BaseDataset) -> Survey:
    """Go through a data set without loading its images."""
    found = Survey([], [], [], Counter(), [])
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        objects = _labels(info)
        found.objects.update(objects)
        found.paths.append(info['img_path'])
        found.sizes.append((info['width'], info['height']) if 'width' in info and 'height' in info else None)
        if info.get('seg_map_path'):
            found.maps.append(info['seg_map_path'])
        if not objects:
            found.empty.append(info['img_path'])
    return found


def _labels(info: dict) -> list[int]:
    """Return the labels of the objects of one image."""
    if 'segments_info' not in info:
        return [instance['bbox_label'] for instance in info.get('instances', ()) if not instance['ignore_flag']]
    segments = [segment for segment in info['segments_info'] if not segment.get('iscrowd')]
    return [segment['category'] for segment in segments if segment['category'] is not None]


def check_images(found: Survey, decode: bool) -> list[Finding]:
    """Report image files that are missing or damaged.

    Args:
        decode: Whether to decode all images; otherwise the headers of some are read.
    """
    if findings := check_presence([*found.paths, *found.maps]):
        return findings
    images = [(path, size) for path, size in zip(found.paths, found.sizes, strict=True) if size and not is_url(path)]
    chosen = spread_evenly(len(images), len(images) if decode else HEADERS)
    looked_at = [images[index] for index in chosen]
    problems = [problem for path, size in looked_at if (problem := image_problem(path, size, decode))]
    if not problems:
        return []
    looked = f' among {plural(len(looked_at), "image")} looked at' if len(looked_at) < len(images) else ''
    return [error(f'{plural(len(problems), "image")} damaged or unfit{looked}: {first_few(problems, 3, "; ")}')]


def check_objects(loader: str, dataset: Any, found: Survey) -> list[Finding]:
    """Count images and objects, and report classes that have none."""
    classes, file, total = dataset.metainfo['classes'], dataset.ann_file, len(found.paths)
    summary = f'{loader}: {plural(total, "image")}, {len(found.empty)} of them without objects; '
    summary += f'{plural(found.objects.total(), "object")} of {len(found.objects)} of {len(classes)} classes ({file})'
    if dataset.test_mode:
        return [note(summary)]
    if not found.objects:
        remedy = 'Does the file hold annotations, and does metainfo.classes name their categories?'
        return [error(f'{summary}: nothing to learn from. {remedy}')]
    absent = [name for label, name in enumerate(classes) if not found.objects[label]]
    unseen = [warning(f'{loader}: {file} has no object of {first_few(absent)}: such classes will not be learnt')]
    return [note(summary), *(unseen if absent else [])]
