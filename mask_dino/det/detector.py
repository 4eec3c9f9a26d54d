"""The detector: MMDetection's data samples in, data samples out."""

import torch
from mmdet.models.detectors import MaskFormer
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from torch import Tensor

from ..boxes import masks_to_boxes
from ..models import MaskDINOHead
from ..structures import QueryPredictions, Targets
from .fusion_head import Results


@MODELS.register_module()
class MaskDINO(MaskFormer):
    """Detector of boxes and masks with Mask DINO (arXiv 2206.02777).

    It inherits the construction, feature extraction and packing of results of mmdet's MaskFormer. In mode
    ``tensor`` it returns the :class:`QueryPredictions` of the last layer.
    """

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """Return the weighted losses of a batch of padded images (B, 3, H, W)."""
        targets = [to_targets(s, batch_inputs.shape[-2:], self.panoptic_head) for s in batch_data_samples]
        losses: dict[str, Tensor] = self.panoptic_head.loss(self.extract_feat(batch_inputs), targets)
        return losses

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Add the results to the data samples, at the size of the original images if ``rescale``."""
        predictions = self.panoptic_head.predict(self.extract_feat(batch_inputs))
        results = self.panoptic_fusion_head.predict(predictions, batch_data_samples, rescale)
        samples: list[DetDataSample] = self.add_pred_to_datasample(batch_data_samples, results)
        return samples

    def add_pred_to_datasample(
        self, data_samples: list[DetDataSample], results_list: list[Results]
    ) -> list[DetDataSample]:
        """Add the results to the data samples; mmdet's MaskFormer does so with instances and segments alone."""
        for sample, results in zip(data_samples, results_list, strict=True):
            if (semantic := results.pop('sem_results', None)) is not None:
                sample.pred_sem_seg = semantic
            if (stuff := results.pop('stuff_results', None)) is not None:
                sample.pred_stuff_instances = stuff
        super().add_pred_to_datasample(data_samples, results_list)
        return data_samples

    def _forward(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None) -> QueryPredictions:
        predictions: QueryPredictions = self.panoptic_head.predict(self.extract_feat(batch_inputs))
        return predictions


def to_targets(sample: DetDataSample, size: torch.Size, head: MaskDINOHead) -> Targets:
    """Return the ground truth of one image, in fractions of the padded input of ``size`` (H, W).

    Stuff follows the things where the head has classes of it, with the boxes of its masks.

    Raises:
        ValueError: If masks or the semantic map are needed and the sample has none.
    """
    truth = sample.gt_instances
    boxes, labels = truth.bboxes, truth.labels
    scale = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    masks = torch.zeros(len(labels), 0, 0, dtype=torch.bool, device=boxes.device)
    if head.criterion.uses_masks:
        if 'masks' not in truth:
            raise ValueError(
                f'{sample.get("img_path", "a training image")} has no gt_masks, which the mask losses need: load '
                'them with LoadAnnotations(with_mask=True), or, for data with boxes alone, train a config that '
                'has criterion.loss_mask=None and criterion.loss_dice=None'
            )
        masks = truth.masks.to_tensor(torch.bool, boxes.device)
    things = (labels, bbox_xyxy_to_cxcywh(boxes) / scale, masks)
    if not (head.num_stuff_classes and head.criterion.uses_masks):
        return Targets(*things)
    return Targets(*(torch.cat(pair) for pair in zip(things, stuff_targets(sample, head), strict=True)))


def stuff_targets(sample: DetDataSample, head: MaskDINOHead) -> tuple[Tensor, Tensor, Tensor]:
    """Return labels, boxes and masks of the stuff of one image, one segment per class; see :func:`to_targets`."""
    if 'gt_sem_seg' not in sample:
        raise ValueError(
            f'{sample.get("img_path", "a training image")} has no gt_seg_map, from which a model with '
            f'num_stuff_classes={head.num_stuff_classes} takes its stuff: load it with '
            'LoadPanopticAnnotations(with_seg=True), or set num_stuff_classes=0'
        )
    classes = sample.gt_sem_seg.sem_seg[0]
    present = classes.unique()
    labels = present[(present >= head.num_things_classes) & (present < head.num_classes)].long()
    masks = classes == labels[:, None, None]
    return labels, masks_to_boxes(masks), masks
