"""The losses of Mask DINO: the same for every set of predictions, given its matches."""

import math

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ..ops.point_logits import pick_logits
from ..ops.points import MaskPoints, PointSampler
from ..ops.recomputing import recompute_if_large
from ..structures import Matches, Outputs, Predictions, Targets
from .loss_inputs import LossInputs, denoising_sets, matching_sets


@MODELS.register_module()
class MaskDINOCriterion(nn.Module):
    """Matching and losses of the decoder layers, the selected encoder tokens and the denoising queries.

    Args:
        num_classes: Classes without "no object".
        num_things_classes: Classes of countable objects; their labels come first.
        matcher: Config of the matcher.
        loss_cls, loss_bbox, loss_iou: Configs of mmdet losses; their weights count.
        loss_mask, loss_dice: The same for masks. Both are None for data with only boxes; only one None is a ValueError.
        point_sampler: Options of :class:`PointSampler`.
        decouple_stuff: Whether stuff has neither box loss nor box cost (paper, section 3.6).
        stuff_weight: Weight of the class and mask losses of stuff, beside 1 for things. Less than 1 leaves more of a
            short training to the things. It needs a class loss with a sigmoid.
    """

    class_weight: Tensor  # (num_classes,)

    def __init__(
        self,
        num_classes: int,
        num_things_classes: int,
        matcher: dict,
        loss_cls: dict,
        loss_bbox: dict,
        loss_iou: dict,
        loss_mask: dict | None = None,
        loss_dice: dict | None = None,
        point_sampler: dict | None = None,
        decouple_stuff: bool = False,
        stuff_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if (loss_mask is None) != (loss_dice is None):
            raise ValueError(
                'MaskDINOCriterion: set both loss_mask and loss_dice, or neither for data without masks'
            )
        self.num_classes = num_classes
        self.num_boxed_classes = num_things_classes if decouple_stuff else num_classes
        self.matcher = TASK_UTILS.build(matcher)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_iou = MODELS.build(loss_iou)
        self.loss_mask = MODELS.build(loss_mask) if loss_mask else None
        self.loss_dice = MODELS.build(loss_dice) if loss_dice else None
        self.sample_points = PointSampler(**point_sampler or {})
        if not 0 <= stuff_weight < math.inf:
            raise ValueError(
                f'MaskDINOCriterion: stuff_weight={stuff_weight}; set a number from 0, such as 0.5'
            )
        if stuff_weight != 1 and not self.loss_cls.use_sigmoid:
            raise ValueError(
                f'MaskDINOCriterion: stuff_weight={stuff_weight} needs loss_cls.use_sigmoid=True; with a softmax, set '
                'loss_cls.class_weight'
            )
        class_weight = torch.ones(num_classes)
        class_weight[num_things_classes:] = stuff_weight
        self.register_buffer('class_weight', class_weight, persistent=False)

    @property
    def num_logits(self) -> int:
        """Outputs of the class branch: a softmax needs one for "no object"."""
        return self.num_classes + (not self.loss_cls.use_sigmoid)

    @property
    def uses_masks(self) -> bool:
        """Whether masks are supervised."""
        return self.loss_mask is not None

    def forward(self, outputs: Outputs, targets: list[Targets]) -> dict[str, Tensor]:
        """Match and compare all predictions of a training step with the targets.

        Args:
            outputs: Of S sets of predictions for B images.
            targets: Of each image; their masks (N, H, W) and boxes span the padded input.

        Returns:
            The weighted losses, scalars named as by mmdet's DINO: ``[d{layer}.|enc_][dn_]loss_*``.
        """
        with torch.autocast(outputs.mask_features.device.type, enabled=False):
            mask_features = outputs.mask_features.float()
            points = self.sample_points(mask_features, targets) if self.uses_masks else None
            prefixes, predictions = matching_sets(outputs)
            matches = self.matcher(predictions, mask_features, targets, self.num_boxed_classes)
            normalizers = self.normalizers(targets, outputs.denoising_matches)
            matching = LossInputs(prefixes, predictions, matches, normalizers[0])
            denoising = LossInputs(*denoising_sets(outputs), normalizers[1])
            return self.losses(matching, targets, points) | self.losses(denoising, targets, points)

    def normalizers(self, targets: list[Targets], denoising: Matches) -> Tensor:
        """Return what losses of matching and of denoising queries are divided by (2, 2): see :class:`LossInputs`."""
        matching_counts, denoising_counts = [], []
        for target, (_, index) in zip(targets, denoising, strict=True):
            has_box = target.labels < self.num_boxed_classes
            weight = self.class_weight[target.labels]
            objects = torch.stack((weight, has_box.float()))  # (2, N)
            matching_counts.append(objects.sum(1))
            denoising_counts.append(objects[:, index[0]].sum(1))
        matching = torch.stack(matching_counts).sum(0)  # (2,)
        counts = torch.stack((matching, torch.stack(denoising_counts).sum(0)))
        return reduce_mean(counts).clamp(min=1)

    def losses(
        self, inputs: LossInputs, targets: list[Targets], points: list[MaskPoints] | None
    ) -> dict[str, Tensor]:
        """Return the losses of sets of predictions, scalars with their prefixes; without points, no mask losses."""
        predictions = Predictions(*(x.float() for x in inputs.predictions))
        inputs = inputs._replace(predictions=predictions)
        labels = _gather([target.labels for target in targets], inputs.matches)  # (S, M)
        boxes = _gather([target.boxes for target in targets], inputs.matches)  # (S, M, 4)
        losses = dict(loss_cls=self.class_loss(labels, inputs))
        losses |= self.box_losses(labels, boxes, inputs)
        if points is not None:
            losses |= self.mask_losses(labels, points, inputs)
        values_of_sets = {name: values.unbind() for name, values in losses.items()}
        named: dict[str, Tensor] = {}
        for index, prefix in enumerate(inputs.prefixes):
            named |= {prefix + name: values[index] for name, values in values_of_sets.items()}
        return named

    def class_loss(self, labels: Tensor, inputs: LossInputs) -> Tensor:
        """Classify matched queries as their target (S, M), all others as no object: losses (S,)."""
        logits = inputs.predictions.logits  # (S, B, Q, num_logits)
        classes = torch.full(logits.shape[:3], self.num_classes, device=logits.device)
        classes[inputs.batch_index()] = labels
        target = self.class_targets(classes).flatten(0, 2)
        loss = self.loss_cls(logits.flatten(0, 2), target, reduction_override='none')
        if self.loss_cls.use_sigmoid:
            loss = loss * self.class_weight
            normalizer = inputs.normalizer[0]
        else:  # the mean over queries, weighted as their classes
            class_weight = torch.tensor(self.loss_cls.class_weight)
            class_weight = class_weight.to(logits.device, non_blocking=True)
            normalizer = class_weight[classes].sum((1, 2))
        return loss.view(logits.shape[0], -1).sum(1) / normalizer

    def class_targets(self, classes: Tensor) -> Tensor:
        """Return classes (S, B, Q) as the class loss needs them: one-hot (S, B, Q, num_classes) with a sigmoid.

        On a GPU, mmdet's focal loss of class numbers runs a kernel of mmcv. This kernel asks the device for the largest
        number and waits for it, and a mmcv that was built without the compiler of the device does not have it.
        """
        if not self.loss_cls.use_sigmoid:
            return classes
        numbers = torch.arange(self.num_classes, device=classes.device)
        return (classes[..., None] == numbers).float()

    def box_losses(
        self, labels: Tensor, target_boxes: Tensor, inputs: LossInputs
    ) -> dict[str, Tensor]:
        """Regress the boxes of queries matched to objects that have one: losses (S,).

        Args:
            labels: (S, M), of the matched objects.
            target_boxes: (S, M, 4), of the matched objects.
        """
        boxes = inputs.predictions.boxes[inputs.batch_index()].flatten(0, 1)  # (S * M, 4)
        target_boxes = target_boxes.flatten(0, 1)
        corners = bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(target_boxes)
        # Summed here: with a weight, mmdet's GIoULoss asks the device whether any is positive, and waits for it.
        distance = self.loss_bbox(boxes, target_boxes, reduction_override='none').sum(-1)
        overlap = self.loss_iou(*corners, reduction_override='none')
        weight = (labels < self.num_boxed_classes) / inputs.normalizer[1]
        losses = {}
        for name, values in (('loss_bbox', distance), ('loss_iou', overlap)):
            # mmdet's L1Loss gives one zero where there is no box.
            values = values.expand(labels.numel()).view_as(labels)
            losses[name] = (values * weight).sum(1)
        return losses

    def mask_losses(
        self, labels: Tensor, points: list[MaskPoints], inputs: LossInputs
    ) -> dict[str, Tensor]:
        """Compare masks with their targets, of labels (S, M), at mostly uncertain points. Return losses (S,)."""
        losses_of_images = []
        embeds = inputs.predictions.mask_embed.unbind(1)  # (S, Q, C) of each image
        for embed, image, (query, target) in zip(embeds, points, inputs.matches, strict=True):
            index = query[..., None].expand(-1, -1, embed.shape[-1])
            matched = embed.gather(1, index).flatten(0, 1)  # (S * M, C)
            losses = self.point_losses(matched, target.flatten(), image)
            losses_of_images.append(losses.unflatten(1, query.shape))
        losses = torch.cat(losses_of_images, -1)  # (2, S, M)
        weight = self.class_weight[labels] / inputs.normalizer[0]
        cross_entropy, dice = (losses * weight).sum(-1)  # (S,) each
        return dict(loss_mask=cross_entropy, loss_dice=dice)

    def point_losses(self, embed: Tensor, target: Tensor, points: MaskPoints) -> Tensor:
        """Return cross-entropy and dice (2, M) of masks with embeddings (M, C) for targets (M,) of one image."""
        parts = pick_logits(embed, points, self.sample_points.choose_points)
        targets = target.split([index.shape[0] for _, index in parts])
        losses = []
        for (logits, index), target_of_part in zip(parts, targets, strict=True):
            # What lies between logits and losses needs little time, but more memory than both.
            inputs = (logits, index, target_of_part, points.masks)
            losses.append(recompute_if_large(logits.numel(), self.compare_masks, *inputs))
        return torch.cat(losses, 1)

    def compare_masks(self, logits: Tensor, index: Tensor, target: Tensor, masks: Tensor) -> Tensor:
        """Return cross-entropy and dice (2, m) of logits (m, P) for targets (m,) of masks (N, S) at points (m, P)."""
        assert self.loss_mask is not None and self.loss_dice is not None  # or there were no points
        start_of_mask = target[:, None] * masks.shape[1]
        truth = masks.take(start_of_mask + index)
        cross_entropy = self.loss_mask(logits, truth, reduction_override='none')  # (m, P)
        dice = self.loss_dice(logits, truth, reduction_override='none')  # (m,)
        return torch.stack((cross_entropy.mean(-1), dice))


def _gather(values: list[Tensor], matches: Matches) -> Tensor:
    """Return the values (S, M, ...) of the matched targets of all images, from (N, ...) of each image."""
    matched = [value[index] for value, (_, index) in zip(values, matches, strict=True)]
    return torch.cat(matched, 1)
