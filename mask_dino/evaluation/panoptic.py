"""Panoptic quality of a test, and its results as files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..messages import DataError
from .ground_truth import PanopticFiles, load_truth
from .pq import (
    Prediction,
    Quality,
    add_up,
    average,
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

    It needs no panopticapi, and equals it. Images are evaluated one by one as they are predicted, by every process its
    own, and only their counts are collected.

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
            raise ValueError("PanopticQualityMetric: format_only=True needs outfile_prefix, as in 'work_dirs/test-dev'")
        if seg_prefix is None and not format_only:
            raise ValueError('PanopticQualityMetric: seg_prefix is missing: the folder of the PNGs of ann_file')
        self.ann_file, self.seg_prefix = ann_file, seg_prefix
        self.classwise, self.format_only = classwise, format_only
        self.outfile_prefix = outfile_prefix
        self._files: PanopticFiles | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compare the predictions of a batch with the ground truth, and write them if asked to."""
        classes = tuple(self.dataset_meta['classes'])
        for sample in data_samples:
            if 'pred_panoptic_seg' not in sample:
                raise DataError('There is no panoptic result. Set model=dict(test_cfg=dict(panoptic_on=True)).')
            values = sample['pred_panoptic_seg']['sem_seg'][0].cpu().numpy()
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
        """Return the rows of an image; see :func:`count_matches`."""
        truth = load_truth(self.ann_file, str(self.seg_prefix), classes).of(sample)
        if truth.pixels.shape != prediction.pixels.shape:
            raise DataError(
                f'The panoptic result of {sample.get("img_path", sample["img_id"])} has {prediction.pixels.shape} rows '
                f'and columns, its map in {self.seg_prefix} has {truth.pixels.shape}. Predict with rescale=True.'
            )
        return count_matches(prediction, truth)

    def compute_metrics(self, results: Sequence[ImageResult]) -> dict[str, float]:
        """Return the averages in percent, and write the JSON file if asked to."""
        load_truth.cache_clear()
        logger = MMLogger.get_current_instance()
        classes = tuple(self.dataset_meta['classes'])
        if self.outfile_prefix is not None:
            path = self.files(classes).write_json([entry for _, entry in results])
            logger.info(f'panoptic results are in {path}')
        if self.format_only:
            return {}
        counts = [rows for rows, _ in results if rows is not None]
        qualities = class_qualities(add_up(counts, len(classes), kinds=4))
        averages = split_averages(qualities, classes, self.dataset_meta['thing_classes'])
        logger.info(f'Panoptic Evaluation Results:\n{quality_table(averages)}')
        if self.classwise:
            logger.info(f'Classwise Panoptic Evaluation Results:\n{class_table(qualities, classes)}')
        suffixes = dict(zip(averages, ('', '_th', '_st'), strict=True))
        return {
            f'{field.upper()}{suffixes[kind]}': getattr(quality, field)
            for kind, quality in averages.items()
            for field in ('pq', 'sq', 'rq')
        }


def split_averages(qualities: np.ndarray, classes: Sequence[str], things: Sequence[str]) -> dict[str, Quality]:
    """Return the averages of qualities (C, 3) over all classes, things and stuff."""
    is_thing = np.isin(classes, things)
    kinds = dict(All=np.full(len(classes), True), Things=is_thing, Stuff=~is_thing)
    return {kind: average(qualities[chosen]) for kind, chosen in kinds.items()}
