"""Annotated instances of images, as the metrics of average precision read them."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_masks

from ..datasets.checks.json_file import read_coco
from ..datasets.checks.masks import NO_PIXEL, mask_problem
from ..messages import DataError, first_few
from .average_precision import Objects


class Annotation(NamedTuple):
    """One annotated object."""

    id: Any  # for messages
    label: int
    box: list[float]  # x, y, width, height in pixels
    area: float  # in pixels
    is_crowd: bool
    mask: Any  # polygons or run lengths; None where there is no mask


@dataclass(frozen=True)
class AnnotatedImage:
    """The annotated objects of one image."""

    id: Hashable
    name: str
    height: int
    width: int
    annotations: list[Annotation] = field(default_factory=list)

    def objects(self, kind: str, source: str) -> Objects:
        """Return boxes (``bbox``) or masks (``segm``) as objects to find.

        Args:
            source: The file that messages name.

        Raises:
            DataError: If a mask cannot be decoded.
        """
        annotations = self.annotations
        labels = [annotation.label for annotation in annotations]
        areas = [annotation.area for annotation in annotations]
        is_crowd = [annotation.is_crowd for annotation in annotations]
        regions: list[Any] = [annotation.box for annotation in annotations]
        if kind == 'segm':
            regions = [self.encode_mask(annotation, source) for annotation in annotations]
        return Objects(
            np.array(labels, np.int64),
            np.array(areas, np.float64),
            np.array(is_crowd, bool),
            regions,
        )

    def encode_mask(self, annotation: Annotation, source: str) -> dict:
        """Return the mask of an annotation as compressed run lengths.

        Raises:
            DataError: The mask cannot be decoded.
        """
        mask = annotation.mask
        width, height = self.width, self.height
        problem = mask_problem(mask, width, height)
        is_usable = problem in (None, NO_PIXEL)
        if not is_usable:
            raise DataError(
                f'{source}: the segmentation of annotation {annotation.id} on {self.name} {problem}. Correct it, or '
                "evaluate boxes only: metric='bbox'."
            )
        if isinstance(mask, dict) and not isinstance(mask['counts'], list):
            return mask
        codes = coco_masks.frPyObjects(mask, height, width)
        return codes if isinstance(mask, dict) else coco_masks.merge(codes)

    def largest_class(self) -> int:
        """Return the number of objects of the most frequent class, without crowds."""
        labels = [annotation.label for annotation in self.annotations if not annotation.is_crowd]
        return int(np.bincount(labels).max()) if labels else 0

    def required_boxes(self) -> np.ndarray:
        """Return the boxes (N, 4) xyxy float32 of objects that are no crowds."""
        objects = [annotation for annotation in self.annotations if not annotation.is_crowd]
        boxes = [annotation.box for annotation in objects]  # x, y, width, height
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        return corners


class InstanceTruth:
    """The images of a JSON file in COCO's format, with the annotations of some classes.

    Args:
        metainfo: Of the data set: ``classes``, and ``thing_classes`` where a class need not be in the file.
        sort_categories: Whether the data set sorts the categories by their ids.

    Raises:
        DataError: If the file is missing, is no JSON, or does not fit the classes.
    """

    def __init__(
        self,
        ann_file: str,
        metainfo: Mapping[str, Any],
        sort_categories: bool = False,
        backend_args: dict | None = None,
    ) -> None:
        content = read_coco(ann_file, backend_args)
        try:
            self._parse(content, ann_file, metainfo, sort_categories)
        except (LookupError, TypeError) as reason:
            raise DataError(
                f"{ann_file} is not in COCO's format for instances, or an entry lacks a field "
                f'({type(reason).__name__}: {reason}). tools/misc/check_dataset.py lists what is wrong.'
            ) from reason

    def _parse(
        self, content: Any, ann_file: str, metainfo: Mapping[str, Any], sort_categories: bool
    ) -> None:
        categories = content['categories']
        if sort_categories:
            categories = sorted(categories, key=lambda category: category['id'])
        classes = list(metainfo['classes'])
        ids = {
            category['name']: category['id']
            for category in categories
            if category['name'] in classes
        }
        _check_names(ann_file, list(ids), classes, metainfo.get('thing_classes', classes))
        self.file = ann_file
        self.category_ids = [ids.get(name) for name in classes]
        self.images: dict[Hashable, AnnotatedImage] = {
            image['id']: AnnotatedImage(
                image['id'], image['file_name'], image['height'], image['width']
            )
            for image in content['images']
        }
        labels = {category: classes.index(name) for name, category in ids.items()}
        for annotation in content.get('annotations', ()):
            label = labels.get(annotation['category_id'])
            image = self.images.get(annotation['image_id'])
            if label is not None and image is not None:
                image.annotations.append(_parse_annotation(annotation, label))

    def find_image(self, sample: Mapping[str, Any]) -> AnnotatedImage:
        """Return the image of a data sample.

        Raises:
            DataError: If the file lacks it.
        """
        image = self.images.get(sample['img_id'])
        if image is None:
            raise DataError(
                f'{self.file} has no image with id {sample["img_id"]} ({sample.get("img_path")}). '
                'Name the ann_file of the data set in the evaluator.'
            )
        return image

    def sorted_images(self) -> list[AnnotatedImage]:
        """Return the images by their ids, as pycocotools orders them; ids of several types keep the file's order."""
        images = list(self.images.values())
        are_numbers = all(isinstance(image.id, int | float) for image in images)
        are_texts = all(isinstance(image.id, str) for image in images)
        if are_numbers or are_texts:
            images.sort(key=lambda image: image.id)  # type: ignore[arg-type, return-value]
        return images


def _check_names(
    ann_file: str, names: list[str], classes: list[str], required: Sequence[str]
) -> None:
    """Refuse a file whose categories differ from the data set, or whose order gives them other labels."""
    absent = [name for name in required if name not in names]
    if absent or names != [name for name in classes if name in names]:
        problem = (
            f'has no category called {first_few(absent)}'
            if absent
            else 'has its categories in another order'
        )
        raise DataError(
            f'{ann_file} {problem}. Name the ann_file of the data set in the evaluator. metainfo.classes are: '
            f'{first_few(classes, 30)}.'
        )


def _parse_annotation(annotation: Mapping[str, Any], label: int) -> Annotation:
    return Annotation(
        annotation.get('id'),
        label,
        annotation['bbox'],
        annotation['area'],
        bool(annotation.get('iscrowd', 0)),
        annotation.get('segmentation'),
    )


def read_instances(sample: Mapping[str, Any]) -> AnnotatedImage:
    """Return the annotations in a data sample, in mmdet's form.

    Raises:
        DataError: If there are none.
    """
    if 'instances' not in sample:
        raise DataError(
            f'The data sample of {name_image(sample)} has no instances, and the evaluator has no ann_file. '
            'Set ann_file in the evaluator.'
        )
    height, width = sample['ori_shape'][:2]
    image = AnnotatedImage(sample['img_id'], name_image(sample), height, width)
    for place, instance in enumerate(sample['instances']):
        left, top, right, bottom = instance['bbox']
        box = [left, top, right - left, bottom - top]
        area = box[2] * box[3]
        is_crowd = bool(instance.get('ignore_flag', 0))
        annotation = Annotation(
            place, instance['bbox_label'], box, area, is_crowd, instance.get('mask')
        )
        image.annotations.append(annotation)
    return image


def name_image(sample: Mapping[str, Any]) -> str:
    """Return the path of the image of a data sample, or its id where the path is not known."""
    return str(sample.get('img_path') or f'the image with id {sample["img_id"]}')
