"""Panoptic ground truth for metrics: read once, whatever their number."""

import os.path as osp
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..datasets.coco_file import read_coco
from ..datasets.findings import DataError
from ..datasets.panoptic.file import PanopticImage, parse_images
from ..datasets.panoptic.maps import SegmentMap, read_map

MAPS = 16
"""Maps kept, so that every metric of a batch sees the same."""


class PanopticTruth:
    """Images of a JSON file with their segments, whose maps are read when asked for.

    Raises:
        DataError: If the file is missing or no JSON.
    """

    def __init__(self, ann_file: str, seg_prefix: str, classes: tuple[str, ...]) -> None:
        content = read_coco(ann_file)
        self.file, self.folder = ann_file, seg_prefix
        self.images: dict[Any, PanopticImage] = {image.id: image for image in parse_images(content, classes)}
        self.segments = lru_cache(MAPS)(self._read)

    def of(self, sample: Mapping[str, Any]) -> SegmentMap:
        """Return the segments of the image of a data sample.

        Raises:
            DataError: If the file lacks the image or its annotation, or the map does not fit.
        """
        return self.segments(sample['img_id'])

    def _read(self, image_id: Any) -> SegmentMap:
        image = self.images.get(image_id)
        if image is None or image.map_name is None:
            missing = 'no image' if image is None else 'no annotation of the image'
            remedy = 'Name the ann_file of the data set in the evaluator; test sets without annotation need format_only'
            raise DataError(f'{self.file} has {missing} with id {image_id}. {remedy}=True')
        return read_map(osp.join(self.folder, image.map_name), image.segments, image.size)


@lru_cache(1)
def load_truth(ann_file: str, seg_prefix: str, classes: tuple[str, ...]) -> PanopticTruth:
    """Return the ground truth, shared by the metrics that ask for the same; clear the cache after an evaluation."""
    return PanopticTruth(ann_file, seg_prefix, classes)
