"""Panoptic ground truth, read once for all metrics."""

import json
import os.path as osp
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.structures.mask import BitmapMasks, encode_mask_results

from ..datasets.checks.json_file import read_coco
from ..datasets.panoptic import PanopticImage, parse_images
from ..datasets.panoptic_png import SegmentMap, read_panoptic_map, write_ids
from ..files import write_whole
from ..messages import DataError, first_few
from ..postprocess import check_finite
from .instances import name_image
from .pq import Prediction

KEPT_MAPS = 16
"""Number of maps that are kept, so that several metrics of a batch read each map once."""


class PanopticTruth:
    """Images of a JSON file with their segments, whose maps are read when asked for.

    Raises:
        DataError: If the file is missing or no JSON.
    """

    def __init__(self, ann_file: str, seg_prefix: str, classes: tuple[str, ...]) -> None:
        content = read_coco(ann_file)
        self.file, self.folder = ann_file, seg_prefix
        self.images: dict[Any, PanopticImage] = {
            image.id: image for image in parse_images(content, classes)
        }
        self.read_segments = lru_cache(KEPT_MAPS)(self._read)

    def find_segments(self, sample: Mapping[str, Any]) -> SegmentMap:
        """Return the segments of the image of a data sample.

        Raises:
            DataError: If the file lacks the image or its annotation, or the map does not fit.
        """
        return self.read_segments(sample['img_id'])

    def _read(self, image_id: Any) -> SegmentMap:
        image = self.images.get(image_id)
        if image is None or image.map_name is None:
            missing = 'no image' if image is None else 'no annotation of the image'
            remedy = 'Name the ann_file of the data set in the evaluator; test sets without annotation need format_only'
            raise DataError(f'{self.file} has {missing} with id {image_id}. {remedy}=True')
        return read_panoptic_map(osp.join(self.folder, image.map_name), image.segments, image.size)


@lru_cache(1)
def load_truth(ann_file: str, seg_prefix: str, classes: tuple[str, ...]) -> PanopticTruth:
    """Return the ground truth, shared by the metrics that ask for the same; clear the cache after an evaluation."""
    return PanopticTruth(ann_file, seg_prefix, classes)


def predicted_map(sample: Mapping[str, Any], field: str) -> np.ndarray:
    """Return the predicted map (H, W) in a data sample.

    Args:
        field: ``pred_panoptic_seg`` or ``pred_sem_seg``.

    Raises:
        DataError: If a value is negative.
        PredictionError: If a value is NaN or infinite.
    """
    values = sample[field]['sem_seg'][0]
    image = name_image(sample)
    check_finite(image, {field: values})
    pixels: np.ndarray = values.long().cpu().numpy()
    if pixels.min(initial=0) < 0:
        raise DataError(
            f'{field} of {image} has the value {pixels.min()}: classes and segments are numbers from 0. '
            'Write the number of classes where there is none.'
        )
    return pixels


def check_shape(
    sample: Mapping[str, Any], kind: str, prediction: np.ndarray, truth: np.ndarray
) -> None:
    """Compare the sizes of a predicted and an annotated map, both (H, W).

    Args:
        kind: ``panoptic`` or ``semantic``.

    Raises:
        DataError: If they differ.
    """
    if prediction.shape != truth.shape:
        raise DataError(
            f'The {kind} result of {name_image(sample)} has {prediction.shape} rows and columns, its map in seg_prefix '
            f'has {truth.shape}. Predict with rescale=True.'
        )


def nothing_to_evaluate(ann_file: str, metric: str) -> DataError:
    """Return the error of a metric whose ground truth has no class of the data set."""
    return DataError(
        f'{ann_file} has nothing to evaluate: nothing in its maps belongs to a class of the data set and is no crowd. '
        f'Correct ann_file and seg_prefix, or leave {metric} out.'
    )


def segments_as_instances(truth: SegmentMap, chosen: np.ndarray) -> list[dict]:
    """Return the segments of classes chosen (C,) bool in mmdet's form of instances."""
    has_class = truth.labels >= 0
    numbers = np.flatnonzero(has_class & chosen[truth.labels])  # (N,)
    values = numbers[:, None, None] + 1
    masks = (truth.pixels == values).astype(np.uint8)  # (N, H, W)
    bitmaps = BitmapMasks(masks, *truth.pixels.shape)
    boxes = bitmaps.get_bboxes('hbox').numpy().tolist()
    codes = encode_mask_results(masks)
    labels = truth.labels[numbers].tolist()
    crowds = truth.is_crowd[numbers].tolist()
    instances = []
    for box, code, label, is_crowd in zip(boxes, codes, labels, crowds, strict=True):
        instance = dict(bbox=box, bbox_label=label, ignore_flag=int(is_crowd), mask=code)
        instances.append(instance)
    return instances


class PanopticFiles:
    """Writes results of classes by the category ids of a JSON file.

    Raises:
        DataError: If the file is missing, no JSON, or has not all the categories.
    """

    def __init__(self, prefix: str, ann_file: str, classes: Sequence[str]) -> None:
        self.folder = Path(f'{prefix}.panoptic')
        self.json = Path(f'{prefix}.panoptic.json')
        categories = read_coco(ann_file).get('categories', ())
        ids = {category['name']: category['id'] for category in categories}
        if absent := [name for name in classes if name not in ids]:
            remedy = 'Name the file that has the categories of the training data'
            raise DataError(
                f'{ann_file}: no categories called {first_few(absent)}. {remedy} in ann_file of the evaluator.'
            )
        self.categories = [ids[name] for name in classes]

    def write_map(self, prediction: Prediction, sample: dict) -> dict:
        """Write the PNG of an image, whose segments have the ids 1, 2, ..., and return its entry of the JSON file.

        Raises:
            OSError: The PNG cannot be written.
        """
        name = f'{Path(sample["img_path"]).stem}.png'
        write_ids(self.folder / name, prediction.pixels)
        counts = np.bincount(prediction.pixels.ravel(), minlength=len(prediction.labels) + 1)
        areas = counts[1:].tolist()
        segments: list[dict[str, Any]] = []
        for label, area in zip(prediction.labels, areas, strict=True):
            number = len(segments) + 1
            segments.append(dict(id=number, category_id=self.categories[label], area=area))
        return dict(image_id=sample['img_id'], file_name=name, segments_info=segments)

    def write_json(self, entries: Sequence[dict | None]) -> Path:
        """Write the JSON file of all images and return its path."""
        write_whole(self.json, json.dumps(dict(annotations=list(entries))).encode())
        return self.json
