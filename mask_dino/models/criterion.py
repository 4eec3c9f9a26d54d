"""The losses of Mask DINO: the same for every set of predictions, given its matches."""

from typing import NamedTuple

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ..ops.transformer_layers import recompute
from ..structures import Matches, Outputs, Predictions, Targets
from .points import MaskPoints, PointSampler


class Matched(NamedTuple):
    """Sets of predictions with their names in the losses, their matches and what their losses are divided by."""

    prefixes: list[str]  # S of them
    predictions: Predictions  # (S, B, Q, ...)
    matches: Matches
    normalizer: Tensor  # (2,) matched objects and matched objects with a box; mean over the processes, at least 1

    def batch_index(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return set, image and query indices (S, M) of all matched queries of the batch."""
        query = torch.cat([q for q, _ in self.matches], 1)
        image = torch.cat([torch.full_like(q, i) for i, (q, _) in enumerate(self.matches)], 1)
        sets = torch.arange(len(query), device=query.device)[:, None].expand_as(query)
        return sets, image, query


def matching_sets(outputs: Outputs) -> tuple[list[str], Predictions]:
    """Return what Hungarian matching supervises: the matching queries of every layer, and the encoder tokens."""
    prefixes, predictions = _prefixes(len(outputs.layers.logits)), outputs.layers
    if outputs.encoder is not None:
        prefixes.append('enc_')
        predictions = predictions.cat(Predictions(*(x[None] for x in outputs.encoder)))
    return prefixes, predictions


def denoising_sets(outputs: Outputs) -> tuple[list[str], Predictions, Matches]:
    """Return the denoising queries of every layer, with their known matches."""
    # Learned queries get no denoising loss before the first layer, as in the original.
    first = 0 if outputs.encoder is not None else 1
    predictions = Predictions(*(x[first:] for x in outputs.denoising))
    prefixes = [f'{prefix}dn_' for prefix in _prefixes(len(outputs.denoising.logits))[first:]]
    matches = [(q.expand(len(prefixes), -1), t.expand(len(prefixes), -1)) for q, t in outputs.denoising_matches]
    return prefixes, predictions, matches


def _prefixes(num_layers: int) -> list[str]:
    return [*(f'd{i}.' for i in range(num_layers - 1)), '']


@MODELS.register_module()
class MaskDINOCriterion(nn.Module):
    """Matching and losses of the decoder layers, the selected encoder tokens and the denoising queries.

    Args:
        num_classes: Classes without "no object".
        num_things_classes: Classes of countable objects; their labels come first.
        matcher: Config of the matcher.
        loss_cls, loss_bbox, loss_iou: Configs of mmdet losses; their weights count.
        loss_mask, loss_dice: The same for masks; None for data with boxes alone.
        point_sampler: Options of :class:`PointSampler`.
        decouple_stuff: Whether stuff has neither box loss nor box cost (paper, section 3.6).
    """

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
    ) -> None:
        super().__init__()
        if (loss_mask is None) != (loss_dice is None):
            raise ValueError('MaskDINOCriterion: set both loss_mask and loss_dice, or neither for data without masks')
        self.num_classes = num_classes
        self.num_boxed_classes = num_things_classes if decouple_stuff else num_classes
        self.matcher = TASK_UTILS.build(matcher)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_iou = MODELS.build(loss_iou)
        self.loss_mask = MODELS.build(loss_mask) if loss_mask else None
        self.loss_dice = MODELS.build(loss_dice) if loss_dice else None
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
            normalizers = self.normalizers(targets, outputs.denoising_matches)
            prefixes, predictions = matching_sets(outputs)
            matches = self.matcher(predictions, outputs.mask_features, targets, self.num_boxed_classes)
            matching = Matched(prefixes, predictions, matches, normalizers[0])
            denoising = Matched(*denoising_sets(outputs), normalizers[1])
            return self.losses(matching, targets, points) | self.losses(denoising, targets, points)

    def normalizers(self, targets: list[Targets], denoising: Matches) -> Tensor:
        """Return what the losses of matching and of denoising queries are divided by (2, 2), see :class:`Matched`."""
        boxed = [t.labels < self.num_boxed_classes for t in targets]
        copies = [query.shape[1] // max(1, len(t.labels)) for (query, _), t in zip(denoising, targets, strict=True)]
        counts = torch.stack([torch.stack((b.new_tensor(len(b), dtype=torch.float), b.sum().float())) for b in boxed])
        known = counts * counts.new_tensor(copies)[:, None]
        return reduce_mean(torch.stack((counts.sum(0), known.sum(0)))).clamp(min=1)

    def losses(self, matched: Matched, targets: list[Targets], points: list[MaskPoints] | None) -> dict[str, Tensor]:
        """Return the losses of sets of predictions."""
        predictions = Predictions(*(x.float() for x in matched.predictions))
        matched = matched._replace(predictions=predictions)
        labels = torch.cat(
            [t.labels[index] for t, (_, index) in zip(targets, matched.matches, strict=True)], 1
        )  # (S, M)
        losses = dict(loss_cls=self.class_loss(labels, matched)) | self.box_losses(labels, targets, matched)
        if points is not None:
            losses |= self.mask_losses(points, matched)
        named = zip(matched.prefixes, zip(*losses.values(), strict=True), strict=False)
        return {prefix + name: value for prefix, values in named for name, value in zip(losses, values, strict=True)}

    def class_loss(self, labels: Tensor, matched: Matched) -> Tensor:
        """Classify matched queries as their target, all others as no object: losses (S,)."""
        logits = matched.predictions.logits
        classes = torch.full(logits.shape[:3], self.num_classes, device=logits.device)
        classes[matched.batch_index()] = labels
        normalizer = matched.normalizer[0]
        if not self.loss_cls.use_sigmoid:  # the mean over queries, weighted as their classes
            normalizer = logits.new_tensor(self.loss_cls.class_weight)[classes].sum((1, 2))
        loss = self.loss_cls(logits.flatten(0, 2), classes.flatten(), reduction_override='none')
        return loss.view(len(logits), -1).sum(1) / normalizer

    def box_losses(self, labels: Tensor, targets: list[Targets], matched: Matched) -> dict[str, Tensor]:
        """Regress the boxes of queries matched to objects that have one: losses (S,)."""
        wanted = torch.cat([t.boxes[index] for t, (_, index) in zip(targets, matched.matches, strict=True)], 1).flatten(
            0, 1
        )
        boxes = matched.predictions.boxes[matched.batch_index()].flatten(0, 1)  # (S * M, 4)
        corners = (bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(wanted))
        # Summed here: with a weight, mmdet's GIoULoss asks the device whether any is positive, and waits for it.
        losses = dict(
            loss_bbox=self.loss_bbox(boxes, wanted, reduction_override='none').sum(-1),
            loss_iou=self.loss_iou(*corners, reduction_override='none'),
        )
        weight = (labels < self.num_boxed_classes) / matched.normalizer[1]
        # mmdet's L1Loss gives one zero where there is no box.
        return {name: (x.expand(labels.numel()).view_as(labels) * weight).sum(1) for name, x in losses.items()}

    def mask_losses(self, points: list[MaskPoints], matched: Matched) -> dict[str, Tensor]:
        """Compare masks with their targets at points, most of which are uncertain ones: losses (S,)."""
        sums = []
        embeds = matched.predictions.mask_embed.unbind(1)
        for embed, image, (query, target) in zip(embeds, points, matched.matches, strict=True):
            rows = embed.gather(1, query[..., None].expand(-1, -1, embed.shape[-1])).flatten(0, 1)
            parts = self.sample_points.pick(rows, image, target.flatten())
            # What is between logits and losses takes little time, and more memory than both: it is computed again.
            losses = [recompute(self.row_losses, *part, image.masks) for part in parts]
            sums.append(torch.cat(losses, 1).unflatten(1, query.shape).sum(-1))
        values = torch.stack(sums).sum(0) / matched.normalizer[0]
        return dict(zip(('loss_mask', 'loss_dice'), values, strict=True))

    def row_losses(self, logits: Tensor, index: Tensor, masks: Tensor) -> Tensor:
        """Return the cross-entropy and dice losses (2, M) of logits (M, P) for values of masks with indices (M, P)."""
        wanted = masks.take(index.long())
        assert self.loss_mask is not None and self.loss_dice is not None  # or there were no points
        cross_entropy = self.loss_mask(logits, wanted, reduction_override='none').mean(-1)
        return torch.stack((cross_entropy, self.loss_dice(logits, wanted, reduction_override='none')))
