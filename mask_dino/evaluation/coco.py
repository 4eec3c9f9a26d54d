"""COCO's average precision of boxes and masks: right for any number of objects, any ids, and any finite result."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.evaluation.functional import eval_recalls
from mmdet.registry import METRICS
from mmengine.logging import MMLogger

from ..messages import DataError, first_few, plural
from .average_precision import Curves, Evaluation, empty_detections, without_classes
from .figures import (
    Item,
    check_numbers,
    check_thresholds,
    class_figures,
    compute_figure,
    default_items,
    parse_items,
)
from .instances import AnnotatedImage, InstanceTruth, read_instances
from .results import ImageResult, read_result


@METRICS.register_module()
class CompleteCocoMetric(CocoMetric):
    """mmdet's CocoMetric with figures that can be trusted.

    - AP is computed with the largest of ``proposal_nums``. pycocotools computes some figures with 100 detections per
      image and class regardless of the option, so that mAP and mAP_50 of crowded images contradict each other.
    - Ids of images, categories and annotations can be of any kind. pycocotools needs annotation ids that are numbers
      other than 0.
    - AP is 0 if nothing is detected. mmdet then returns no figure, and a hook that keeps the best checkpoint fails.
    - A figure without any object, as mAP_s where no object is small, is left out. mmdet returns -1, which a hook that
      keeps the best checkpoint takes for a figure.

    All other figures equal the figures of pycocotools. Results are kept as run lengths.

    Args:
        ann_file: JSON file in COCO's format. Without it, the data samples must hold the annotations, ``instances``.
        metric: One or more of ``bbox``, ``segm``, ``proposal`` and ``proposal_fast``.
        classwise: Whether to return and print the AP of every class.
        proposal_nums: Numbers of best detections per image and class (with ``proposal``: per image) to evaluate.
        iou_thrs: IoU thresholds, by default 0.5, 0.55, ..., 0.95.
        metric_items: Figures to return, such as ``mAP``, ``mAP_50``, ``mAP_s``, ``AR@100`` or ``AR_s@1000``.
        format_only: Whether to write files of results only.
        outfile_prefix: Where these are written: ``{outfile_prefix}.bbox.json`` and ``{outfile_prefix}.segm.json``.
        backend_args: Where mmengine finds ``ann_file``.
        sort_categories: Whether the data set sorts the categories by their ids, as mmdet's Objects365V1Dataset does.

    Raises:
        ValueError: If ``metric_items`` has a figure that does not exist or that the other options exclude, or if
            ``proposal_nums`` or ``iou_thrs`` have impossible values.
    """

    def __init__(
        self,
        ann_file: str | None = None,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = False,
        proposal_nums: int | Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: str | Sequence[str] | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        sort_categories: bool = False,
    ) -> None:
        numbers = check_numbers(proposal_nums)
        thresholds = check_thresholds(iou_thrs)
        super().__init__(
            metric=[metric] if isinstance(metric, str) else list(metric),
            classwise=classwise,
            proposal_nums=numbers,
            iou_thrs=thresholds,
            metric_items=[metric_items] if isinstance(metric_items, str) else metric_items,
            format_only=format_only,
            outfile_prefix=outfile_prefix,
            backend_args=backend_args,
            collect_device=collect_device,
            prefix=prefix,
        )
        self.ann_file, self.sort_categories = ann_file, sort_categories
        self.items = parse_items(self.metric_items or (), numbers, self.iou_thrs)
        self.limits = sorted({*numbers, *(item.limit for item in self.items)})

    @cached_property
    def truth(self) -> InstanceTruth:
        """The content of the annotation file, which is read once."""
        return InstanceTruth(
            str(self.ann_file), self.dataset_meta, self.sort_categories, self.backend_args
        )

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the detections of a batch.

        Raises:
            DataError: If the annotations are missing, do not fit the classes, or have no such image, or if results do
                not fit the classes or the size of the image.
            PredictionError: If a score, a box or a mask is NaN or infinite.
        """
        for sample in data_samples:
            image = self.read_truth(sample)
            result = read_result(sample, self.dataset_meta['classes'], image)
            if self.ann_file is None:
                result = replace(result, truth=image)
            self.results.append(result)

    def read_truth(self, sample: dict) -> AnnotatedImage:
        """Return the annotations of an image, from the file or its data sample. See :meth:`process` for errors."""
        return read_instances(sample) if self.ann_file is None else self.truth.find_image(sample)

    def compute_metrics(self, results: list[ImageResult]) -> dict[str, float]:
        """Return the figures as chosen by ``metric`` and ``metric_items``.

        Raises:
            DataError: If there is no object to find, or if masks are to be evaluated and there are none.
        """
        if self.outfile_prefix is not None:
            self.write_files(results)
        figures: dict[str, float] = {}
        if self.format_only:
            return figures
        images = self.annotated_images(results)
        self.warn_of_misses(images, results)
        for metric in self.metrics:
            if metric == 'proposal_fast':
                figures |= self.compute_fast_recalls(images, results)
            else:
                figures |= self.compute_figures(metric, images, results)
        return figures

    def write_files(self, results: list[ImageResult]) -> None:
        """Write the files of results, with the ids of the annotation file."""
        self.cat_ids: list[Any] = list(range(len(self.dataset_meta['classes'])))
        if self.ann_file is not None:
            self.cat_ids = self.truth.category_ids
        entries = [result.in_form_of_mmdet() for result in results]
        self.results2json(entries, self.outfile_prefix)
        MMLogger.get_current_instance().info(f'results are in {self.outfile_prefix}.*.json')

    def annotated_images(self, results: list[ImageResult]) -> list[AnnotatedImage]:
        """Return the images with their annotations, in the order in which pycocotools counts equal scores."""
        if self.ann_file is not None:
            return self.truth.sorted_images()
        return [result.truth for result in results if result.truth is not None]

    def warn_of_misses(
        self, images: Sequence[AnnotatedImage], results: Sequence[ImageResult]
    ) -> None:
        """Log what makes the figures smaller than a reader expects."""
        logger = MMLogger.get_current_instance()
        evaluated = {result.image_id for result in results}
        if absent := [image.name for image in images if image.id not in evaluated]:
            logger.warning(
                f'{self.source}: {plural(len(absent), "image")} without result ({first_few(absent, 2)}). All of their '
                'objects count as not found. Give the evaluator a file that has only the images of the data set.'
            )
        most = max((image.largest_class() for image in images), default=0)
        if most > self.limits[-1]:
            logger.warning(
                f'An image has {most} objects of one class, but at most {self.limits[-1]} detections are counted per '
                f'image and class, so that AP cannot reach 1. Set proposal_nums of the evaluator to {most} or more.'
            )

    def compute_figures(
        self, metric: str, images: Sequence[AnnotatedImage], results: Sequence[ImageResult]
    ) -> dict[str, float]:
        """Return the figures of ``bbox``, ``segm`` or ``proposal``."""
        curves = self.compute_curves(metric, images, results)
        is_proposal = metric == 'proposal'
        items = self.items or default_items(is_proposal, self.proposal_nums, self.iou_thrs)
        prefix = '' if is_proposal else f'{metric}_'
        values = {f'{prefix}{item.name}': self.compute_figure(curves, item) for item in items}
        figures = {name: value for name, value in values.items() if not np.isnan(value)}
        logger = MMLogger.get_current_instance()
        listed = '  '.join(f'{name} {value:.3f}' for name, value in figures.items())
        logger.info(
            f'{metric}, at most {max(self.proposal_nums)} detections per image and class: {listed}'
        )
        if absent := [name for name in values if name not in figures]:
            logger.info(f'left out: {first_few(absent)}. {self.source} has no object for it.')
        if self.classwise and not is_proposal:
            precision = curves.precision[..., self.limits.index(max(self.proposal_nums))]
            by_class = class_figures(precision, self.dataset_meta['classes'], self.iou_thrs)
            logger.info(f'{metric} of every class:\n{by_class.table}')
            figures = by_class.figures | figures
        return figures

    def compute_figure(self, curves: Curves, item: Item) -> float:
        """Return one figure, rounded as mmdet does."""
        return round(compute_figure(curves, item, self.limits, self.iou_thrs), 3)

    def compute_curves(
        self, metric: str, images: Sequence[AnnotatedImage], results: Sequence[ImageResult]
    ) -> Curves:
        """Match all images.

        Raises:
            DataError: If there is no object to find, or if masks are to be evaluated and there are none.
        """
        is_proposal = metric == 'proposal'
        kind = 'bbox' if is_proposal else metric
        num_classes = len(self.dataset_meta['classes'])
        by_id = {result.image_id: result for result in results}
        evaluation = Evaluation(1 if is_proposal else num_classes, self.iou_thrs, self.limits)
        for image in images:
            objects = image.objects(kind, self.source)
            detections = (
                by_id[image.id].detections(kind) if image.id in by_id else empty_detections()
            )
            if is_proposal:
                objects, detections = without_classes(objects), without_classes(detections)
            evaluation.add_image(objects, detections)
        if not evaluation.positives[:, 0].any():
            raise DataError(
                f'{self.source} has no object to find for metric={metric!r}: no annotation of its images belongs to '
                'the classes of the data set and is no crowd. Correct ann_file, or leave this metric out.'
            )
        return evaluation.compute_curves()

    @property
    def source(self) -> str:
        """The place of the annotations, for messages."""
        return self.ann_file or f'{type(self).__name__}: the data'

    def compute_fast_recalls(
        self, images: Sequence[AnnotatedImage], results: Sequence[ImageResult]
    ) -> dict[str, float]:
        """Return the figures of ``proposal_fast``: recall of boxes of any class, crowds left out."""
        boxes = {result.image_id: result.boxes for result in results}
        nothing = np.zeros((0, 4), np.float32)
        recalls = eval_recalls(
            [image.required_boxes() for image in images],
            [boxes.get(image.id, nothing) for image in images],
            self.proposal_nums,
            self.iou_thrs,
            logger=MMLogger.get_current_instance(),
        )
        return {
            f'AR@{limit}': float(row.mean())
            for limit, row in zip(self.proposal_nums, recalls, strict=True)
        }
