"""Panoptic results as a test server of COCO takes them: a PNG per image and one JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.coco_file import read_coco
from ..datasets.findings import DataError, some
from ..datasets.panoptic.maps import write_ids, write_whole
from .quality import Prediction


class PanopticFiles:
    """Writes results of classes by the category ids of a JSON file.

    Raises:
        DataError: If the file is missing, no JSON, or has not all the categories.
    """

    def __init__(self, prefix: str, ann_file: str, classes: Sequence[str]) -> None:
        self.folder, self.json = Path(f'{prefix}.panoptic'), Path(f'{prefix}.panoptic.json')
        ids = {category['name']: category['id'] for category in read_coco(ann_file).get('categories', ())}
        if absent := [name for name in classes if name not in ids]:
            remedy = 'Name the file that has the categories of the training data'
            raise DataError(f'{ann_file}: no categories called {some(absent)}. {remedy} in ann_file of the evaluator.')
        self.categories = [ids[name] for name in classes]

    def write_map(self, prediction: Prediction, sample: dict) -> dict:
        """Write the PNG of an image, whose segments have the ids 1, 2, ..., and return its entry of the JSON file."""
        name = f'{Path(sample["img_path"]).stem}.png'
        write_ids(self.folder / name, prediction.pixels)
        areas = np.bincount(prediction.pixels.ravel(), minlength=len(prediction.labels) + 1)[1:].tolist()
        segments: list[dict[str, Any]] = [
            dict(id=number, category_id=self.categories[label], area=area)
            for number, (label, area) in enumerate(zip(prediction.labels, areas, strict=True), start=1)
        ]
        return dict(image_id=sample['img_id'], file_name=name, segments_info=segments)

    def write_json(self, entries: Sequence[dict | None]) -> Path:
        """Write the JSON file of all images and return its path."""
        write_whole(self.json, json.dumps(dict(annotations=list(entries))).encode())
        return self.json
