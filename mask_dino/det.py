"""Mask DINO under MMDetection: data samples in, data samples out.

A config names it: ``custom_imports = dict(imports=['mask_dino.det'], allow_failed_imports=False)``.
"""

import torch
from mmdet.models.detectors import MaskFormer
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from mmengine.structures import InstanceData
from torch import Tensor

from . import checkpoints, hooks, models, optim, progress
from .postprocess import ImageSizes, instances
from .structures import QueryPredictions, Targets

__all__ = ['MaskDINO', 'MaskDINOFusionHead', 'checkpoints', 'hooks', 'models', 'optim', 'progress']


@MODELS.register_module()
class MaskDINO(MaskFormer):
    """Detector of boxes and masks with Mask DINO (arXiv 2206.02777).

    It inherits the construction, feature extraction and packing of results of mmdet's MaskFormer. In mode
    ``tensor`` it returns the :class:`QueryPredictions` of the last layer.
    """

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """Return the weighted losses of a batch of padded images (B, 3, H, W)."""
        size = batch_inputs.shape[-2:]
        targets = [to_targets(s, size, self.panoptic_head.criterion.uses_masks) for s in batch_data_samples]
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

    def _forward(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None) -> QueryPredictions:
        predictions: QueryPredictions = self.panoptic_head.predict(self.extract_feat(batch_inputs))
        return predictions


@MODELS.register_module()
class MaskDINOFusionHead(MaskFormerFusionHead):
    """Turns the predictions of a batch into mmdet's results.

    ``test_cfg``: ``max_per_image``, the instances to keep; ``max_mask_pixels``, how many pixels of enlarged masks
    are held in float at once, which bounds the memory of post-processing and changes no result.
    """

    def predict(
        self, predictions: QueryPredictions, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[dict[str, InstanceData]]:
        """Return ``ins_results`` of each image."""
        return [
            dict(ins_results=self.instances(QueryPredictions(*image), image_sizes(sample.metainfo, rescale)))
            for image, sample in zip(zip(*predictions, strict=True), batch_data_samples, strict=False)
        ]

    def instances(self, predictions: QueryPredictions, sizes: ImageSizes) -> InstanceData:
        """Return the instances of one image, whose predictions have no batch dimension."""
        logits, boxes, masks = (x.float() for x in predictions)
        found = instances(logits, boxes, masks, sizes, self.test_cfg.max_per_image, self.test_cfg.max_mask_pixels)
        return InstanceData(bboxes=found.boxes, labels=found.labels, scores=found.scores, masks=found.masks)


def image_sizes(metainfo: dict, rescale: bool) -> ImageSizes:
    """Read the sizes of an image off its meta information; results go back to the original size if ``rescale``."""
    resized = tuple(metainfo['img_shape'][:2])
    output = tuple(metainfo['ori_shape'][:2]) if rescale else resized
    return ImageSizes(tuple(metainfo['batch_input_shape']), resized, output)


def to_targets(sample: DetDataSample, size: torch.Size, with_masks: bool = True) -> Targets:
    """Return the ground truth of one image, in fractions of the padded input of ``size`` (H, W).

    Raises:
        ValueError: If masks are needed and the sample has none.
    """
    truth = sample.gt_instances
    boxes, labels = truth.bboxes, truth.labels
    scale = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    masks = torch.zeros(len(labels), 0, 0, dtype=torch.bool, device=boxes.device)
    if with_masks:
        if 'masks' not in truth:
            raise ValueError(
                f'{sample.get("img_path", "a training image")} has no gt_masks, which the mask losses need: load '
                'them with LoadAnnotations(with_mask=True), or, for data with boxes alone, train a config that '
                'has criterion.loss_mask=None and criterion.loss_dice=None'
            )
        masks = truth.masks.to_tensor(torch.bool, boxes.device)
    return Targets(labels, bbox_xyxy_to_cxcywh(boxes) / scale, masks)
