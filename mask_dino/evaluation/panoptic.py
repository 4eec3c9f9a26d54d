"""Panoptic quality of a test, and its results as files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..messages import DataError
from .coco import CompleteCocoMetric
from .ground_truth import (
    PanopticFiles,
    check_shape,
    load_truth,
    nothing_to_evaluate,
    predicted_map,
    segments_as_instances,
)
from .pq import (
    Prediction,
    Quality,
    add_up,
    average_qualities,
    class_qualities,
    class_table,
    count_matches,
    parse_panoptic,
    quality_table,
)

ImageResult = tuple[np.ndarray | None, dict | None]
"""Rows of count_matches and the entry of the JSON file; mmengine takes no named tuples through its collection."""


@METRICS.register_module()
class PanopticQualityMetric(BaseMetric):
    """PQ, SQ and RQ of all classes, things and stuff, with the keys of mmdet's CocoPanopticMetric.

    The figures equal the figures of panopticapi, which is not needed. Each process evaluates its images as they are
    predicted, and only their counts are collected.

    Args:
        ann_file: JSON file in COCO's panoptic format.
        seg_prefix: Folder of its PNGs.
        classwise: Whether to print the table of classes.
        format_only: Whether only to write files, for a test server.
        outfile_prefix: Results go to the folder ``{outfile_prefix}.panoptic`` and to ``{outfile_prefix}.panoptic.json``
            if this is given.

    Raises:
        ValueError: If ``format_only`` comes without ``outfile_prefix``, or no ``seg_prefix`` to compare with is given.
    """

    default_prefix = 'coco_panoptic'

    def __init__(
        self,
        ann_file: str,
        seg_prefix: str | None = None,
        classwise: bool = False,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        if format_only and outfile_prefix is None:
            raise ValueError(
                "PanopticQualityMetric: format_only=True needs outfile_prefix, as in 'work_dirs/test-dev'"
            )
        if seg_prefix is None and not format_only:
            raise ValueError(
                'PanopticQualityMetric: seg_prefix is missing: the folder of the PNGs of ann_file'
            )
        self.ann_file, self.seg_prefix = ann_file, seg_prefix
        self.classwise, self.format_only = classwise, format_only
        self.outfile_prefix = outfile_prefix
        self._files: PanopticFiles | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compare the predictions of a batch with the ground truth, and write them if asked to.

        Raises:
            DataError: If the results have no panoptic map, or one of another size than the ground truth.
            PredictionError: If a map is NaN or infinite.
            OSError: If a PNG cannot be written.
        """
        classes = tuple(self.dataset_meta['classes'])
        for sample in data_samples:
            if 'pred_panoptic_seg' not in sample:
                raise DataError(
                    'There is no panoptic result. Set model=dict(test_cfg=dict(panoptic_on=True)).'
                )
            values = predicted_map(sample, 'pred_panoptic_seg')
            prediction = parse_panoptic(values, INSTANCE_OFFSET, len(classes))
            counts = None if self.format_only else self.count(prediction, sample, classes)
            entry = None
            if self.outfile_prefix is not None:
                entry = self.files(classes).write_map(prediction, sample)
            self.results.append((counts, entry))

    def files(self, classes: tuple[str, ...]) -> PanopticFiles:
        """Return the files to be written, whose categories are read once."""
        if self._files is None:
            self._files = PanopticFiles(str(self.outfile_prefix), self.ann_file, classes)
        return self._files

    def count(self, prediction: Prediction, sample: dict, classes: tuple[str, ...]) -> np.ndarray:
        """Return the counts of one image; see :func:`count_matches`.

        Raises:
            DataError: If the file lacks the image, or the map has another size than the prediction.
        """
        truth = load_truth(self.ann_file, str(self.seg_prefix), classes).find_segments(sample)
        check_shape(sample, 'panoptic', prediction.pixels, truth.pixels)
        return count_matches(prediction, truth)

    def compute_metrics(self, results: Sequence[ImageResult]) -> dict[str, float]:
        """Return the averages in percent, and write the JSON file if asked to.

        Raises:
            DataError: If the ground truth has no segment of the classes.
        """
        load_truth.cache_clear()
        logger = MMLogger.get_current_instance()
        classes = tuple(self.dataset_meta['classes'])
        if self.outfile_prefix is not None:
            entries = [entry for _, entry in results]
            path = self.files(classes).write_json(entries)
            logger.info(f'panoptic results are in {path}')
        if self.format_only:
            return {}
        counts = [rows for rows, _ in results if rows is not None]
        qualities = class_qualities(add_up(counts, len(classes), kinds=4))
        averages = split_averages(qualities, classes, self.dataset_meta['thing_classes'])
        if not averages['All'].classes:
            raise nothing_to_evaluate(self.ann_file, type(self).__name__)
        logger.info(f'Panoptic Evaluation Results:\n{quality_table(averages)}')
        if self.classwise:
            logger.info(
                f'Classwise Panoptic Evaluation Results:\n{class_table(qualities, classes)}'
            )
        suffixes = dict(zip(averages, ('', '_th', '_st'), strict=True))
        return {
            f'{field.upper()}{suffixes[kind]}': getattr(quality, field)
            for kind, quality in averages.items()
            for field in ('pq', 'sq', 'rq')
        }


def split_averages(
    qualities: np.ndarray, classes: Sequence[str], things: Sequence[str]
) -> dict[str, Quality]:
    """Return the averages of qualities (C, 3) over all classes, things and stuff."""
    is_thing = np.isin(classes, things)
    kinds = dict(All=np.full(len(classes), True), Things=is_thing, Stuff=~is_thing)
    return {kind: average_qualities(qualities[chosen]) for kind, chosen in kinds.items()}


# The areas of segments are the areas of their boxes, so that AP by area would mean little.
PANOPTIC_ITEMS = ['mAP', 'mAP_50', 'mAP_75']


class PanopticAPMetric(CompleteCocoMetric):
    """The common part of AP of things and AP of stuff.

    Args:
        ann_file: JSON file in COCO's panoptic format.
        seg_prefix: Folder of its PNGs.
        metric: ``['bbox', 'segm']``, or one of them.
    """

    field: str
    option: str

    def __init__(
        self,
        ann_file: str,
        seg_prefix: str,
        metric: list[str],
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            metric=metric, metric_items=PANOPTIC_ITEMS, collect_device=collect_device, prefix=prefix
        )
        self.panoptic_file, self.seg_prefix = ann_file, seg_prefix

    def chosen(self, is_thing: np.ndarray) -> np.ndarray:
        """Return which classes (C,) bool are evaluated, given which are things."""
        raise NotImplementedError

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect instances and the ground truth of a batch, as run lengths.

        Raises:
            DataError: If the results have no such instances, or the file lacks the image.
            PredictionError: If a score or a box is NaN or infinite.
        """
        classes = tuple(self.dataset_meta['classes'])
        chosen = self.chosen(np.isin(classes, self.dataset_meta['thing_classes']))
        for sample in data_samples:
            if self.field not in sample:
                raise DataError(
                    f'{type(self).__name__}: results have no {self.field}. '
                    f'Set model=dict(test_cfg=dict({self.option}=True)), or leave this metric out.'
                )
            truth = load_truth(self.panoptic_file, self.seg_prefix, classes)
            instances = segments_as_instances(truth.find_segments(sample), chosen)
            super().process(
                data_batch,
                [{**sample, 'pred_instances': sample[self.field], 'instances': instances}],
            )


@METRICS.register_module()
class ThingAPMetric(PanopticAPMetric):
    """Box and mask AP of things, for data without a file of instances; with one, CompleteCocoMetric reads it.

    As AP_pan^Th of the paper's supplement, section B.
    """

    default_prefix = 'coco'
    field, option = 'pred_instances', 'instance_on'

    def chosen(self, is_thing: np.ndarray) -> np.ndarray:
        """Return which classes (C,) bool are evaluated, given which are things."""
        return is_thing


@METRICS.register_module()
class StuffAPMetric(PanopticAPMetric):
    """Mask AP of stuff, the AP_pan^St of the paper's supplement, section B: one segment per image and class."""

    default_prefix = 'coco_stuff'
    field, option = 'pred_stuff_instances', 'stuff_on'

    def chosen(self, is_thing: np.ndarray) -> np.ndarray:
        """Return which classes (C,) bool are evaluated, given which are things."""
        return ~is_thing
