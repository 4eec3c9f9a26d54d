"""Label maps of semantic segmentation that do not fit their images or classes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mmcv
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.fileio import list_dir_or_file

from ...messages import Finding, error, first_few, is_url, note, plural, spread_evenly, warning
from .config import leaf_datasets
from .images import COPY_AGAIN, file_problem, header_size, image_problem

MAPS = 200
"""Number of label maps, evenly spread, that are read beforehand; the labels of the others are checked in training."""
NEARLY_ALL = 0.99
"""Share of ignored pixels above which a map is reported as nearly empty."""
NO_CLASS = -1


class LabelCodes(NamedTuple):
    """What mmseg makes of the labels in the files of a data set."""

    num_classes: int
    classes: dict[int, int]  # label in the file -> class; num_classes for what is ignored


class MapReport(NamedTuple):
    """A label map that was read: what is wrong with it, or its pixels by class, and the ignored pixels last."""

    path: str
    problem: str | None
    pixels: np.ndarray  # (num_classes + 1,)


def reads_label_maps(dataset: Any) -> bool:
    """Tell whether a data set is one of mmseg's, which say what becomes of the labels in the files."""
    return isinstance(dataset, BaseDataset) and hasattr(dataset, 'reduce_zero_label')


def check_same_labels(datasets: Mapping[str, Any]) -> list[Finding]:
    """Report semantic data sets, by the names of their loaders, whose labels stand for different classes."""
    settings = {
        loader: leaf.reduce_zero_label
        for loader, dataset in datasets.items()
        for leaf in leaf_datasets(dataset)
        if reads_label_maps(leaf)
    }
    if len(set(settings.values())) < 2:
        return []
    listed = ', '.join(f'{loader}: {value}' for loader, value in settings.items())
    message = f'The data sets differ in reduce_zero_label ({listed}), so a class has different labels in them. '
    return [error(f'{message}Give all of them the same value.')]


def check_label_maps(loader: str, dataset: Any, decode: bool) -> list[Finding]:
    """Report label maps of a data set, and their images, that cannot be used, and count the pixels of the classes.

    Args:
        decode: Whether to look at all of them; otherwise at some.
    """
    indices = spread_evenly(len(dataset), len(dataset) if decode else MAPS)
    infos = [dataset.get_data_info(index) for index in indices]
    local = [
        info for info in infos if info.get('seg_map_path') and not is_url(info['seg_map_path'])
    ]
    if not local:
        return _check_absence(loader, infos)
    names = dataset.metainfo.get('classes') or ()
    codes = read_codes(
        len(names), dataset.label_map, dataset.reduce_zero_label, dataset.ignore_index
    )
    reports = [read_label_map(info, codes) for info in local]
    unread = [problem for info in local if (problem := unread_image(info['img_path'], decode))]
    unusable = [report.problem for report in reports if report.problem]
    findings = [
        error(
            f'{plural(len(problems), noun)} of {len(local)} looked at: {first_few(problems, 3, "; ")}'
        )
        for noun, problems in (('image', unread), ('label map', unusable))
        if problems
    ]
    findings = findings or list(summarise(loader, len(dataset), names, reports))
    return findings + check_unused_maps(loader, dataset)


def check_unused_maps(loader: str, dataset: Any) -> list[Finding]:
    """Report label maps whose name no image has: mmseg uses the images of a folder that end in ``img_suffix``."""
    image_folder, map_folder = (
        Path(dataset.data_prefix.get(key) or '') for key in ('img_path', 'seg_map_path')
    )
    lists_its_images = dataset.ann_file and not Path(dataset.ann_file).is_dir()
    if lists_its_images or not (image_folder.is_dir() and map_folder.is_dir()):
        return []
    images = _names_without_suffix(image_folder, dataset.img_suffix)
    maps = _names_without_suffix(map_folder, dataset.seg_map_suffix)
    unused = sorted(name + dataset.seg_map_suffix for name in maps - images)
    if not unused:
        return []
    count = f'{plural(len(unused), "label map")} of {len(maps)}'
    message = (
        f'{loader}: {count} in {map_folder} not used: {first_few(unused, 2)}. '
        f'{image_folder} has no image of the same name that ends in {dataset.img_suffix!r}. '
    )
    return [warning(f'{message}Add the images, or set img_suffix to the suffix of all images.')]


def _names_without_suffix(folder: Path, suffix: str) -> set[str]:
    """Return the names of the files of a folder as mmseg lists them, relative to the folder, without their suffix."""
    files = list_dir_or_file(folder, list_dir=False, suffix=suffix, recursive=True)
    return {name.removesuffix(suffix) for name in files}


def _check_absence(loader: str, infos: Sequence[Mapping]) -> list[Finding]:
    """Report a data set for training that has no label map at all."""
    has_maps = any(info.get('seg_map_path') for info in infos)
    if has_maps or 'train' not in loader:
        return []
    message = f'{loader}: the data set has no label maps. '
    return [error(f'{message}Write data_prefix=dict(seg_map_path=...), the folder of the maps.')]


def summarise(
    loader: str, num_images: int, names: Sequence[str], reports: Sequence[MapReport]
) -> Iterator[Finding]:
    """Yield a line on a data set, and warnings of classes without a pixel and maps that are nearly all ignored."""
    if not names:
        return
    pixels = np.sum([report.pixels for report in reports], 0)
    absent = [name for name, count in zip(names, pixels[:-1].tolist(), strict=True) if not count]
    ignored = pixels[-1] / pixels.sum()
    looked_at = plural(len(reports), 'label map')
    summary = (
        f'{loader}: {plural(num_images, "image")}, {looked_at} looked at; {len(names) - len(absent)} of {len(names)} '
        f'classes have pixels; {ignored:.1%} of the pixels are ignored'
    )
    if ignored >= NEARLY_ALL:
        yield error(f'{summary}: there is nothing to learn from or to evaluate. {IGNORED_REMEDY}')
        return
    if len(names) > 1 and pixels[0] and pixels[-1] and not pixels[1:-1].any():
        yield error(
            f'{loader}: all label maps looked at have the class {names[0]} and ignored pixels only. Do the maps have 0 '
            'and 255, as masks of one object have? Write the numbers of the classes, from 0.'
        )
    yield note(summary)
    if absent:
        remedy = 'Correct the maps, reduce_zero_label or metainfo.classes, unless these classes are rare.'
        yield warning(
            f'{loader}: no pixel of {first_few(absent)} in {looked_at} looked at. {remedy}'
        )
    shares = [(report.path, report.pixels[-1] / report.pixels.sum()) for report in reports]
    if empty := [f'{path} ({share:.1%})' for path, share in shares if share >= NEARLY_ALL]:
        count = f'{plural(len(empty), "label map")} of {len(reports)} looked at'
        yield warning(
            f'{loader}: nearly all pixels are ignored in {count}: {first_few(empty, 2)}. {IGNORED_REMEDY}'
        )


IGNORED_REMEDY = (
    'Write the numbers of classes where the maps have 255 (or 0, with reduce_zero_label=True).'
)


def unread_image(path: str, decode: bool) -> str | None:
    """Describe why an image cannot be loaded. Its size must be the size of its label map."""
    size = header_size(path)
    return image_problem(path, size, decode) if size else file_problem(path)


def read_codes(
    num_classes: int, label_map: dict | None, reduce_zero_label: bool, ignore_index: int
) -> LabelCodes:
    """Return what becomes of the labels: mmseg first moves them down with ``reduce_zero_label``, then maps them."""
    classes = {}
    for label in range(256):
        new = label
        if reduce_zero_label:
            new = 255 if label in (0, 255) else label - 1
        new = (label_map or {}).get(new, new)
        if new == ignore_index or new < num_classes:
            classes[label] = min(new, num_classes)
    return LabelCodes(num_classes, classes)


def read_label_map(info: Mapping, codes: LabelCodes) -> MapReport:
    """Read the label map of an image, which is given as the data set describes it."""
    path = info['seg_map_path']
    none = np.zeros(codes.num_classes + 1, np.int64)
    try:
        labels = np.squeeze(mmcv.imread(path, 'unchanged', backend='pillow'))
    except (OSError, ValueError, SyntaxError) as reason:
        undecoded = f'{path} cannot be decoded ({reason}); {COPY_AGAIN}'
        return MapReport(path, file_problem(path) or undecoded, none)
    if problem := _shape_problem(path, labels, info['img_path']):
        return MapReport(path, problem, none)
    values, counts = np.unique(labels, return_counts=True)
    classes = np.array([codes.classes.get(value, NO_CLASS) for value in values.tolist()])
    if codes.num_classes and (classes == NO_CLASS).any():
        listed = first_few(values[classes == NO_CLASS].tolist(), 5)
        remedy = 'add classes, correct reduce_zero_label or the map'
        return MapReport(
            path, f'{path} has the labels {listed}, which no class has: {remedy}', none
        )
    pixels = np.bincount(classes.clip(0), counts, codes.num_classes + 1)
    return MapReport(path, None, pixels.astype(np.int64))


def _shape_problem(path: str, labels: np.ndarray, image_path: str) -> str | None:
    """Say what is wrong with the shape of a label map (H, W)."""
    if labels.ndim != 2:
        return (
            f'{path} is an image of colours, {labels.shape[-1]} channels of them: save the index of the class of every '
            'pixel, in one channel'
        )
    size = labels.shape[::-1]
    image_size = header_size(image_path)
    if image_size in (None, size):
        return None
    return f'{path} is {size[0]} x {size[1]} pixels, its image {image_path} {image_size[0]} x {image_size[1]}'
