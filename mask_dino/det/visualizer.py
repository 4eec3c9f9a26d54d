"""Pictures of all results of a panoptic model."""

from collections.abc import Sequence
from functools import cached_property

import mmcv
import numpy as np
import torch
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

TRUTH = ('gt_instances', 'gt_sem_seg', 'gt_panoptic_seg')
RESULTS = ('pred_instances', 'pred_panoptic_seg', 'pred_sem_seg')


@VISUALIZERS.register_module()
class PanopticVisualizer(DetLocalVisualizer):
    """mmdet's visualizer, but it draws ground truth, instances, segments and classes side by side.

    mmdet's visualizer draws all results over one another. It fails if a panoptic map has no segment, which happens
    early in a training.
    """

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
        """Draw a data sample of an image (H, W, 3), and show, write or store the picture; the arguments are mmdet's."""
        sample = DetDataSample() if data_sample is None else data_sample
        pictures = []
        if draw_gt:
            truths = split_sample(sample, [TRUTH])
            pictures += [self.draw_part(image, truth) for truth in truths]
        if draw_pred:
            kinds = [(result,) for result in RESULTS]
            results = split_sample(sample, kinds)
            pictures += [self.draw_part(image, result, pred_score_thr) for result in results]
        drawn = np.concatenate(pictures or [image], axis=1)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, drawn, step)
        else:
            bgr = drawn[..., ::-1]
            mmcv.imwrite(bgr, out_file)

    def draw_part(
        self, image: np.ndarray, sample: DetDataSample, score_thr: float = 0
    ) -> np.ndarray:
        """Return mmdet's picture (H, W, 3) of a sample that has either ground truth or one kind of results."""
        if 'pred_panoptic_seg' in sample and self.is_void(sample):
            return image
        for field in ('gt_instances', 'pred_instances'):
            if field in sample:
                sample.set_field(clip_boxes(sample.get(field), image), field)
        self.painter.dataset_meta = self.dataset_meta
        is_truth = any(field in sample for field in TRUTH)
        self.painter.add_datasample(
            '', image, sample, is_truth, not is_truth, pred_score_thr=score_thr
        )
        picture: np.ndarray = self.painter.get_image()
        return picture

    def is_void(self, sample: DetDataSample) -> bool:
        """Tell whether the panoptic map of a sample has no segment."""
        return bool((sample.pred_panoptic_seg.sem_seg == len(self.dataset_meta['classes'])).all())

    @cached_property
    def painter(self) -> DetLocalVisualizer:
        """A visualizer with the same colours and widths that stores nothing."""
        style = dict(
            bbox_color=self.bbox_color, text_color=self.text_color, mask_color=self.mask_color
        )
        return DetLocalVisualizer(line_width=self.line_width, alpha=self.alpha, **style)


def clip_boxes(instances: InstanceData, image: np.ndarray) -> InstanceData:
    """Return instances whose boxes end on the last pixels of an image (H, W, 3).

    Boxes outside of it would move the picture, and mmengine warns of boxes that end behind its last pixel.
    """
    clipped: InstanceData = instances.clone()
    if 'bboxes' in clipped:
        last = clipped.bboxes.new_tensor(image.shape[1::-1]).repeat(2) - 1
        clipped.bboxes = clipped.bboxes.clamp(min=torch.zeros_like(last), max=last)
    return clipped


def split_sample(sample: DetDataSample, kinds: Sequence[tuple[str, ...]]) -> list[DetDataSample]:
    """Return one sample for each kind, with the fields of this kind; kinds without fields are left out."""
    parts = [{field: sample.get(field) for field in kind if field in sample} for kind in kinds]
    return [DetDataSample(**part) for part in parts if part]
