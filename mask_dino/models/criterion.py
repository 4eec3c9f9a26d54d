"""The losses of Mask DINO: the same for every set of predictions, given its matches."""

from typing import NamedTuple

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ..structures import Matches, Outputs, Predictions, Targets
from .mask_points import MaskPoints, PointSampler


class Matched(NamedTuple):
    """A set of predictions with its name in the losses, its matches and what its losses are divided by."""

    prefix: str
    predictions: Predictions
    matches: Matches
    normalizer: Tensor  # (2,) matched objects and matched objects with a box; mean over the processes, at least 1


@MODELS.register_module()
class MaskDINOCriterion(nn.Module):
    """Matching and losses of the decoder layers, the selected encoder tokens and the denoising queries.

    Args:
        num_classes: Classes without "no object".
        matcher: Config of the matcher.
        loss_cls, loss_bbox, loss_iou: Configs of mmdet losses; their weights count.
        loss_mask, loss_dice: The same for masks; None for data with boxes alone.
        point_sampler: Options of :class:`PointSampler`.
        num_boxed_classes: Labels from here on have neither box loss nor box cost (stuff decoupling, paper,
            section 3.6); all classes have both if None.
    """

    def __init__(
        self,
        num_classes: int,
        matcher: dict,
        loss_cls: dict,
        loss_bbox: dict,
        loss_iou: dict,
        loss_mask: dict | None = None,
        loss_dice: dict | None = None,
        point_sampler: dict | None = None,
        num_boxed_classes: int | None = None,
    ) -> None:
        super().__init__()
        if (loss_mask is None) != (loss_dice is None):
            raise ValueError('MaskDINOCriterion: set both loss_mask and loss_dice, or neither for data without masks')
        self.num_classes = num_classes
        self.num_boxed_classes = num_classes if num_boxed_classes is None else num_boxed_classes
        self.matcher = TASK_UTILS.build(matcher)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_iou = MODELS.build(loss_iou)
        self.loss_mask = loss_mask and MODELS.build(loss_mask)
        self.loss_dice = loss_dice and MODELS.build(loss_dice)
        self.sample_points = PointSampler(**point_sampler or {})

    @property
    def num_logits(self) -> int:
        """Outputs of the class branch: a softmax needs one for "no object"."""
        return self.num_classes + (not self.loss_cls.use_sigmoid)

    @property
    def uses_masks(self) -> bool:
        """Whether masks are supervised."""
        return self.loss_mask is not None

    def forward(self, outputs: Outputs, targets: list[Targets]) -> dict[str, Tensor]:
        """Return the weighted losses, named as by mmdet's DINO: ``[d{layer}.|enc_][dn_]loss_*``."""
        with torch.autocast(outputs.mask_features.device.type, enabled=False):
            outputs = outputs._replace(mask_features=outputs.mask_features.float())
            points = self.sample_points(outputs.mask_features, targets) if self.uses_masks else None
            losses: dict[str, Tensor] = {}
            for matched in self.match(outputs, targets):
                losses |= self.losses(matched, targets, points)
            return losses

    def match(self, outputs: Outputs, targets: list[Targets]) -> list[Matched]:
        """Return all sets of predictions to be supervised, with their matches."""
        sets = list(zip(_prefixes(len(outputs.layers)), outputs.layers))
        if outputs.encoder is not None:
            sets.append(('enc_', outputs.encoder))
        matches = self.matcher([p for _, p in sets], outputs.mask_features, targets, self.num_boxed_classes)
        # Learned queries get no denoising loss before the first layer, as in the original.
        first = 0 if outputs.encoder is not None else 1
        denoising = list(zip(_prefixes(len(outputs.denoising)), outputs.denoising))[first:]
        one_to_one, known = self.normalizers(targets, outputs.denoising_matches)
        return [Matched(name, p, m, one_to_one) for (name, p), m in zip(sets, matches)] + [
            Matched(f'{name}dn_', p, outputs.denoising_matches, known) for name, p in denoising
        ]

    def normalizers(self, targets: list[Targets], denoising: Matches) -> Tensor:
        """Return what the losses of matching and of denoising queries are divided by (2, 2), see :class:`Matched`."""
        boxed = [t.labels < self.num_boxed_classes for t in targets]
        copies = [len(query) // max(1, len(t.labels)) for (query, _), t in zip(denoising, targets)]
        counts = torch.stack([torch.stack((b.new_tensor(len(b), dtype=torch.float), b.sum().float())) for b in boxed])
        known = counts * counts.new_tensor(copies)[:, None]
        return reduce_mean(torch.stack((counts.sum(0), known.sum(0)))).clamp(min=1)

    def losses(self, matched: Matched, targets: list[Targets], points: list[MaskPoints] | None) -> dict[str, Tensor]:
        """Return the losses of one set of predictions."""
        predictions = Predictions(*(x.float() for x in matched.predictions))
        labels = torch.cat([t.labels[index] for t, (_, index) in zip(targets, matched.matches)])
        boxed = labels < self.num_boxed_classes
        losses = dict(
            loss_cls=self.class_loss(predictions.logits, labels, matched),
            **self.box_losses(predictions.boxes, targets, boxed, matched),
        )
        if points is not None:
            losses |= self.mask_losses(predictions.mask_embed, points, matched)
        return {matched.prefix + name: value for name, value in losses.items()}

    def class_loss(self, logits: Tensor, labels: Tensor, matched: Matched) -> Tensor:
        """Classify matched queries as their target, all others as no object."""
        classes = torch.full(logits.shape[:2], self.num_classes, device=logits.device)
        classes[_batch_index(matched.matches)] = labels
        normalizer = matched.normalizer[0]
        if not self.loss_cls.use_sigmoid:  # the mean over queries, weighted as their classes
            normalizer = logits.new_tensor(self.loss_cls.class_weight)[classes].sum()
        loss: Tensor = self.loss_cls(logits.flatten(0, 1), classes.flatten(), avg_factor=normalizer)
        return loss

    def box_losses(
        self, boxes: Tensor, targets: list[Targets], boxed: Tensor, matched: Matched
    ) -> dict[str, Tensor]:
        """Regress the boxes (B, Q, 4) of queries matched to objects that have one."""
        wanted = torch.cat([t.boxes[index] for t, (_, index) in zip(targets, matched.matches)])
        boxes = boxes[_batch_index(matched.matches)]
        # Reduced here: with a weight, mmdet's GIoULoss asks the device whether any is positive, and waits for it.
        distance = self.loss_bbox(boxes, wanted, reduction_override='none').sum(-1)
        corners = (bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(wanted))
        overlap = self.loss_iou(*corners, reduction_override='none')
        normalizer = matched.normalizer[1]
        return dict(loss_bbox=(distance * boxed).sum() / normalizer, loss_iou=(overlap * boxed).sum() / normalizer)

    def mask_losses(self, mask_embed: Tensor, points: list[MaskPoints], matched: Matched) -> dict[str, Tensor]:
        """Compare masks with their targets at points, most of which are uncertain ones."""
        pairs = [
            self.sample_points.pick(embed[query], image, target)
            for embed, image, (query, target) in zip(mask_embed, points, matched.matches)
        ]
        logits, wanted = (torch.cat(x) for x in zip(*pairs))
        count = matched.normalizer[0]
        return dict(
            loss_mask=self.loss_mask(logits, wanted, avg_factor=count * logits.shape[1]),
            loss_dice=self.loss_dice(logits, wanted, avg_factor=count),
        )


def _prefixes(num_layers: int) -> list[str]:
    return [f'd{i}.' for i in range(num_layers - 1)] + ['']


def _batch_index(matches: Matches) -> tuple[Tensor, Tensor]:
    image = torch.cat([torch.full_like(query, i) for i, (query, _) in enumerate(matches)])
    return image, torch.cat([query for query, _ in matches])
