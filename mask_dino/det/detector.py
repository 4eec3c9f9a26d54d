"""The detector: MMDetection's data samples in, data samples out."""

from collections.abc import Callable, Sequence

import torch
from mmdet.models.detectors import MaskFormer
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from torch import Tensor

from ..boxes import masks_to_boxes
from ..datasets.checks.pipelines import LOST_MASKS_REMEDY
from ..messages import DataError
from ..models import MaskDINOHead
from ..ops.tracing import is_exporting
from ..optim import require_float32
from ..structures import QueryPredictions, Targets
from .fusion_head import Results


@MODELS.register_module()
class MaskDINO(MaskFormer):
    """Detector of boxes and masks with Mask DINO (arXiv 2206.02777).

    It inherits the construction, feature extraction and packing of results of mmdet's MaskFormer. In mode
    ``tensor`` it returns the :class:`QueryPredictions` of the last layer.

    The network sees a batch padded to its largest image and does not mask the padding, as in the original. The results
    of an image therefore depend slightly on the sizes of the other images in its batch. Test with a batch size of 1,
    as the configs do, for results that do not.
    """

    def extract_feat(self, batch_inputs: Tensor) -> Sequence[Tensor]:
        """Return the backbone maps (B, C_i, H / s_i, W / s_i) of padded images (B, 3, H, W)."""
        feats: Sequence[Tensor] = super().extract_feat(arrange_for_inference(batch_inputs))
        return feats

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Return the weighted losses of a batch of padded images (B, 3, H, W).

        Raises:
            DataError: If the ground truth lacks something that the losses need; see :func:`to_targets`.
        """
        size = batch_inputs.shape[-2:]
        targets = [to_targets(sample, size, self.panoptic_head) for sample in batch_data_samples]
        feats = self.extract_feat(batch_inputs)
        losses: dict[str, Tensor] = self.panoptic_head.loss(feats, targets)
        return losses

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Add the results of padded images (B, 3, H, W) to their data samples.

        Args:
            rescale: Whether results have the size of the original image instead of the resized one.
        """
        predictions = self.panoptic_head.predict(self.extract_feat(batch_inputs))
        results = self.panoptic_fusion_head.predict(predictions, batch_data_samples, rescale)
        samples: list[DetDataSample] = self.add_pred_to_datasample(batch_data_samples, results)
        return samples

    def add_pred_to_datasample(
        self, data_samples: list[DetDataSample], results_list: list[Results]
    ) -> list[DetDataSample]:
        """Add the results to the data samples; mmdet's MaskFormer adds only instances and panoptic maps."""
        for sample, results in zip(data_samples, results_list, strict=True):
            semantic = results.pop('sem_results', None)
            if semantic is not None:
                sample.pred_sem_seg = semantic
            stuff = results.pop('stuff_results', None)
            if stuff is not None:
                sample.pred_stuff_instances = stuff
        super().add_pred_to_datasample(data_samples, results_list)
        return data_samples

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None
    ) -> QueryPredictions:
        predictions: QueryPredictions = self.panoptic_head.predict(self.extract_feat(batch_inputs))
        return predictions

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'MaskDINO':
        require_float32(fn, 'MaskDINO')
        model: MaskDINO = super()._apply(fn, recurse)
        return model


def arrange_for_inference(images: Tensor) -> Tensor:
    """Return images (B, 3, H, W) with channels last in memory, if their backbone maps have no gradients, on a CPU.

    A ResNet then takes 0.8 to 0.95 of the time in inference. A training would take longer, because the gradients of
    strided convolutions do.
    """
    if torch.is_grad_enabled() or not images.is_cpu or is_exporting():
        return images
    return images.contiguous(memory_format=torch.channels_last)


def to_targets(sample: DetDataSample, size: torch.Size, head: MaskDINOHead) -> Targets:
    """Return the ground truth of one image, in fractions of the padded input of ``size`` (H, W).

    The N things come first. Stuff follows if the head has classes of stuff, with the boxes of its masks.

    Returns:
        Labels (N + M,), boxes (N + M, 4) cxcywh in [0, 1] and masks (N + M, H, W); see :class:`Targets`.

    Raises:
        DataError: If masks or the semantic map are needed and the sample has none, or if its numbers of boxes, labels
            and masks differ.
    """
    instances = sample.gt_instances
    boxes, labels = instances.bboxes, instances.labels
    masks = torch.zeros(len(labels), 0, 0, dtype=torch.bool, device=boxes.device)
    if head.criterion.uses_masks:
        masks = _read_masks(sample)
    things = (labels, _to_fractions(boxes, size), masks)
    if not (head.num_stuff_classes and head.criterion.uses_masks):
        return Targets(*things)
    stuff = stuff_targets(sample, head)
    return Targets(*(torch.cat(pair) for pair in zip(things, stuff, strict=True)))


def _to_fractions(boxes: Tensor, size: torch.Size) -> Tensor:
    """Return xyxy boxes (N, 4) in pixels as cxcywh in fractions of ``size`` (H, W)."""
    height, width = size
    center_x, center_y, box_width, box_height = bbox_xyxy_to_cxcywh(boxes).unbind(-1)
    fractions = (center_x / width, center_y / height, box_width / width, box_height / height)
    return torch.stack(fractions, -1)


def _read_masks(sample: DetDataSample) -> Tensor:
    """Return the masks (N, H, W) bool of the things of one image."""
    instances = sample.gt_instances
    if 'masks' not in instances:
        raise DataError(
            f'{_name_image(sample)} has no gt_masks, which the mask losses need: load them with '
            'LoadAnnotations(with_mask=True). For data that has only boxes, train a config with '
            'criterion.loss_mask=None and criterion.loss_dice=None'
        )
    counts = [len(instances.bboxes), len(instances.labels), len(instances.masks)]
    if len(set(counts)) > 1:
        raise DataError(
            f'{_name_image(sample)} has {counts[0]} boxes, {counts[1]} labels and {counts[2]} masks after the training '
            f'pipeline: {LOST_MASKS_REMEDY}'
        )
    masks: Tensor = instances.masks.to_tensor(torch.bool, instances.bboxes.device)
    return masks


def stuff_targets(sample: DetDataSample, head: MaskDINOHead) -> tuple[Tensor, Tensor, Tensor]:
    """Return the stuff of one image, one segment per class.

    Returns:
        Labels (M,) int64, boxes (M, 4) cxcywh in [0, 1] and masks (M, H, W) bool, of the padded input.

    Raises:
        DataError: If the sample has no semantic map.
    """
    if 'gt_sem_seg' not in sample:
        raise DataError(
            f'{_name_image(sample)} has no gt_seg_map, which a model with num_stuff_classes={head.num_stuff_classes} '
            'needs for its stuff: load it with LoadPanopticAnnotations(with_seg=True), or set num_stuff_classes=0'
        )
    classes = sample.gt_sem_seg.sem_seg[0]  # (H, W)
    present = classes.unique()
    is_stuff = (present >= head.num_things_classes) & (present < head.num_classes)
    labels = present[is_stuff].long()
    masks = classes == labels[:, None, None]
    return labels, masks_to_boxes(masks), masks


def _name_image(sample: DetDataSample) -> str:
    name: str = sample.get('img_path', 'a training image')
    return name
