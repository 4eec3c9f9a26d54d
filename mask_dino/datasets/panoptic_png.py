"""Panoptic maps as files: red + 256 * green + 65536 * blue of a pixel is the id of its segment, 0 is void."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from mmengine.fileio import get

from ..files import write_whole
from ..messages import DataError, first_few, plural

IDS = 2**24
"""Segment ids are smaller than this."""
EXPORT = 'Export PNG and JSON together again'


class Segment(NamedTuple):
    """What the JSON file says of one segment."""

    id: int
    label: int | None  # index into the classes, None for a category that the config leaves out
    is_crowd: bool
    area: float | None  # in pixels, None where the file does not say


class SegmentMap(NamedTuple):
    """The segments of one image, in the order of the JSON file."""

    pixels: np.ndarray  # (H, W) int: number of the segment, from 1; 0 for void, which is also what a config leaves out
    labels: np.ndarray  # (N,) int64, -1 for what a config leaves out
    is_crowd: np.ndarray  # (N,) bool
    areas: np.ndarray  # (N,) float64 pixels, as the file says, or counted

    def label_pixels(self, void: int, crowds: bool) -> np.ndarray:
        """Return the class of every pixel (H, W) int32, ``void`` outside of segments.

        Args:
            void: Value of pixels that have no class.
            crowds: Whether pixels of crowds have the class of the crowd; otherwise they are void.
        """
        known = (self.labels >= 0) & (~self.is_crowd | crowds)
        labels: np.ndarray = np.concatenate(([void], np.where(known, self.labels, void))).astype(
            np.int32
        )
        return labels[self.pixels]


def read_panoptic_map(path: str, segments: Sequence[Segment], size: tuple[int, int]) -> SegmentMap:
    """Read the segments of one image of ``size`` (H, W).

    Raises:
        DataError: If the file is missing, broken, of another size, or its ids differ from ``segments``.
    """
    ids = read_ids(path)
    if ids.shape != tuple(size):
        raise DataError(
            f'{path} is {ids.shape[1]} x {ids.shape[0]} pixels, but width x height of its image are '
            f'{size[1]} x {size[0]} in the JSON file. {EXPORT}, at the size of the image'
        )
    # A table of all ids: only the pages that are looked at take memory.
    numbers = np.zeros(IDS, np.int16)
    segment_ids = [segment.id for segment in segments]
    numbers[segment_ids] = np.arange(1, len(segments) + 1)
    pixels = numbers[ids]
    counts = np.bincount(pixels.ravel(), minlength=len(segments) + 1)
    if not counts[1:].all() or counts[0] != np.count_nonzero(ids == 0):
        raise DataError(_ids_problem(path, ids, segments))
    labels = np.array(
        [-1 if segment.label is None else segment.label for segment in segments], np.int64
    )
    if (labels < 0).any():
        kept_numbers = np.where(labels < 0, 0, np.arange(1, len(labels) + 1))
        pixels = np.concatenate(([0], kept_numbers))[pixels]
    areas = [
        count if s.area is None else s.area for s, count in zip(segments, counts[1:], strict=True)
    ]
    crowds = np.array([segment.is_crowd for segment in segments], bool)
    return SegmentMap(pixels, labels, crowds, np.array(areas, np.float64))


def read_ids(path: str) -> np.ndarray:
    """Return the ids (H, W) int32 of a panoptic map.

    Raises:
        DataError: If there is no such file, or it is no image.
    """
    try:
        data = np.frombuffer(get(path), np.uint8)
    except FileNotFoundError as reason:
        message = f"{path} does not exist; correct data_prefix=dict(seg=...) or seg_prefix, or add the image's PNG"
        raise DataError(message) from reason
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        raise DataError(
            f'{path} cannot be decoded: it is damaged or cut short. Copy it again. {EXPORT} if it is gone'
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA).view('<i4')[..., 0] & (IDS - 1)


def id2rgb(ids: np.ndarray) -> np.ndarray:
    """Return ids (H, W) as colours (H, W, 3) uint8, red first."""
    low_bytes = np.ascontiguousarray(ids, '<u4').view(np.uint8)
    return low_bytes.reshape(*ids.shape, 4)[..., :3]


def write_ids(path: Path, ids: np.ndarray) -> None:
    """Write a panoptic map (H, W), whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    write_whole(path, cv2.imencode('.png', id2rgb(ids)[..., ::-1])[1].tobytes())


def _ids_problem(path: str, ids: np.ndarray, segments: Sequence[Segment]) -> str:
    """Describe how the ids of the map (H, W) and of the JSON file differ."""
    painted = set(np.unique(ids).tolist()) - {0}
    stated = {segment.id for segment in segments}
    unknown = sorted(painted - stated)
    if unknown:
        count = plural(len(unknown), 'segment id')
        problem = f'{path} has {count} that segments_info of the JSON file lacks'
        return f'{problem}: {first_few(unknown, 5)}. {EXPORT}; void is 0'
    absent = sorted(stated - painted)
    count = plural(len(absent), 'segment id')
    problem = f'{path} lacks {count} that segments_info of the JSON file has'
    return f'{problem}: {first_few(absent, 5)}. {EXPORT}, or remove the entries'


VOID = 255
"""Value of gt_seg_map where nothing is known."""


@TRANSFORMS.register_module()
class LoadCocoPanopticAnnotations(BaseTransform):
    """Loads the segments of an image, as mmdet's LoadPanopticAnnotations does with panopticapi.

    Things become ``gt_masks``, ``gt_bboxes`` and ``gt_bboxes_labels``, things and stuff ``gt_seg_map`` (H, W) with
    the class of every pixel. Differs from mmdet's: crowd regions are void (255) in the map, because it is not known
    where the things in them are. Boxes enclose the masks, as in the original.
    """

    with_mask = True

    def transform(self, results: dict) -> dict:
        """Add the annotations; where there is no map, as in inference, nothing.

        Raises:
            DataError: If the map is missing or does not fit the segments.
        """
        if results.get('seg_map_path') is None:
            return results
        infos = results['segments_info']
        segments = [Segment(info['id'], info['category'], info['iscrowd'], None) for info in infos]
        size = (results['height'], results['width'])
        segment_map = read_panoptic_map(results['seg_map_path'], segments, size)
        results['gt_seg_map'] = segment_map.label_pixels(VOID, crowds=False)
        things = [number for number, info in enumerate(infos, start=1) if info['is_thing']]
        bitmaps = [(segment_map.pixels == number).astype(np.uint8) for number in things]
        masks = BitmapMasks(bitmaps, *size)
        results['gt_masks'] = masks
        results['gt_bboxes'] = masks.get_bboxes('hbox')
        results['gt_bboxes_labels'] = segment_map.labels[np.array(things, np.int64) - 1]
        results['gt_ignore_flags'] = np.zeros(len(things), bool)
        return results
