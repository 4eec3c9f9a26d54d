"""A dense, obvious criterion: every mask at full resolution, every layer and object by itself.

It is slow on purpose. What the package computes at shared points must agree with it in expectation. A config can name
:class:`DenseCriterion`, as ``tests/tools/configs/dense_r50.py`` does for the benchmarks.
"""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mask_dino.models import MaskDINOCriterion
from mask_dino.models.loss_inputs import denoising_sets, matching_sets
from mask_dino.structures import Outputs, Predictions, Targets

SetMatches = list[
    tuple[Tensor, Tensor]
]  # of one set of predictions: query and target indices (M,) of each image


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values (N, P) of maps (N, h, w), each at its own points (N, P, 2)."""
    return F.grid_sample(maps[:, None], points[:, None] * 2 - 1, align_corners=False)[:, 0, 0]


def mask_losses(logits: Tensor, masks: Tensor, num_points: int) -> tuple[Tensor, Tensor]:
    """Point-wise cross-entropy and dice, summed over masks (N, h, w), by the original's importance sampling."""
    candidates = torch.rand(len(logits), 3 * num_points, 2, device=logits.device)
    uncertain = (
        at_points(logits, candidates)
        .abs()
        .topk(int(0.75 * num_points), dim=1, largest=False)
        .indices
    )
    chosen = torch.stack([c[i] for c, i in zip(candidates, uncertain, strict=True)])
    points = torch.cat((chosen, torch.rand_like(candidates[:, : num_points - chosen.shape[1]])), 1)
    guess, truth = at_points(logits, points), at_points(masks.float(), points)
    cross_entropy = F.binary_cross_entropy_with_logits(guess, truth, reduction='none').mean(1)
    probability = guess.sigmoid()
    dice = 1 - (2 * (probability * truth).sum(1) + 1) / (probability.sum(1) + truth.sum(1) + 1)
    return cross_entropy.sum(), dice.sum()


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Sum of the sigmoid focal loss with alpha 0.25, gamma 2."""
    probability = logits.sigmoid()
    of_truth = torch.where(wanted, probability, 1 - probability)
    alpha = torch.where(wanted, 0.25, 0.75)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, wanted.float(), reduction='none')
    return (alpha * (1 - of_truth) ** 2 * cross_entropy).sum()


def corners(boxes: Tensor) -> Tensor:
    """From cxcywh to xyxy."""
    return torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)


def losses(
    predictions: Predictions,
    masks: Tensor,
    targets: list[Targets],
    matches: SetMatches,
    num_points: int,
) -> dict[str, Tensor]:
    """Weighted losses of one set of predictions with mask logits (B, Q, h, w), as published."""
    totals = dict.fromkeys(
        ('loss_cls', 'loss_bbox', 'loss_iou', 'loss_mask', 'loss_dice'), masks.new_zeros(())
    )
    for i, (target, (query, index)) in enumerate(zip(targets, matches, strict=True)):
        wanted = torch.zeros_like(predictions.logits[i], dtype=torch.bool)
        wanted[query, target.labels[index]] = True
        boxes, true_boxes = predictions.boxes[i, query], target.boxes[index]
        overlap = bbox_overlaps(corners(boxes), corners(true_boxes), mode='giou', is_aligned=True)
        cross_entropy, dice = mask_losses(masks[i, query], target.masks[index], num_points)
        parts = dict(
            loss_cls=4 * focal_loss(predictions.logits[i], wanted),
            loss_bbox=5 * (boxes - true_boxes).abs().sum(),
            loss_iou=2 * (1 - overlap).sum(),
            loss_mask=5 * cross_entropy,
            loss_dice=5 * dice,
        )
        totals = {name: totals[name] + value for name, value in parts.items()}
    count = max(1, sum(len(query) for query, _ in matches))
    return {name: value / count for name, value in totals.items()}


def focal_costs(logits: Tensor) -> Tensor:
    """Cost (Q, num_classes) of saying each class."""
    probability = logits.sigmoid()
    positive = -0.25 * (1 - probability) ** 2 * (probability + 1e-8).log()
    return positive + 0.75 * probability**2 * (1 - probability + 1e-8).log()


def mask_costs(logits: Tensor, masks: Tensor, num_points: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice (Q, N) between masks (Q, h, w) and (N, H, W), at the same random points."""
    points = torch.rand(1, num_points, 2, device=logits.device)
    guess = at_points(logits, points.expand(len(logits), -1, -1))
    truth = at_points(masks.float(), points.expand(len(masks), -1, -1))
    if_inside = F.binary_cross_entropy_with_logits(guess, torch.ones_like(guess), reduction='none')
    if_outside = F.binary_cross_entropy_with_logits(
        guess, torch.zeros_like(guess), reduction='none'
    )
    cross_entropy = (if_inside @ truth.T + if_outside @ (1 - truth).T) / num_points
    probability = guess.sigmoid()
    dice = 1 - (2 * probability @ truth.T + 1) / (probability.sum(1)[:, None] + truth.sum(1) + 1)
    return cross_entropy, dice


class DenseMatcher:
    """Hungarian matching of one set of predictions, image by image, with the published weights."""

    def __init__(self, num_points: int) -> None:
        self.num_points = num_points

    @torch.no_grad()
    def __call__(
        self, predictions: Predictions, masks: Tensor, targets: list[Targets]
    ) -> SetMatches:
        matches = []
        for logits, boxes, image_masks, target in zip(
            *predictions[:2], masks, targets, strict=True
        ):
            cross_entropy, dice = mask_costs(image_masks, target.masks, self.num_points)
            overlap = bbox_overlaps(corners(boxes), corners(target.boxes), mode='giou')
            distance = torch.cdist(boxes, target.boxes, p=1)
            cost = (
                4 * focal_costs(logits)[:, target.labels]
                + 5 * distance
                - 2 * overlap
                + 5 * cross_entropy
                + 5 * dice
            )
            pairs = linear_sum_assignment(cost.cpu())
            matches.append(tuple(torch.as_tensor(x, device=cost.device) for x in pairs))
        return matches


@MODELS.register_module()
class DenseCriterion(MaskDINOCriterion):
    """What a textbook Mask DINO does with the outputs of the same network.

    The masks of all queries are multiplied out for every layer and held to the end, as in the original. Matching and
    losses go layer by layer and image by image, and sample every mask by itself. Weights are those published.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.num_points = self.matcher.num_points
        self.matcher = DenseMatcher(self.num_points)

    def forward(self, outputs: Outputs, targets: list[Targets]) -> dict[str, Tensor]:
        names, matching = matching_sets(outputs)
        known_names, denoising, known = denoising_sets(outputs)
        sets = [
            Predictions(*x)
            for part in (matching, denoising)
            for x in zip(*(y.float() for y in part), strict=True)
        ]
        masks = self.decode(sets, outputs.mask_features.float())
        matches = [
            self.matcher(*one, targets) for one in zip(sets[: len(names)], masks, strict=False)
        ]
        matches += [
            [(query[i], index[i]) for query, index in known] for i in range(len(known_names))
        ]
        return self.all_losses([*names, *known_names], sets, masks, targets, matches)

    def decode(self, sets: list[Predictions], features: Tensor) -> list[Tensor]:
        """Multiply out all masks."""
        return [predictions.decode(features).masks for predictions in sets]

    def all_losses(
        self,
        names: list[str],
        sets: list[Predictions],
        masks: list[Tensor],
        targets: list[Targets],
        matches: list[SetMatches],
    ) -> dict[str, Tensor]:
        """Losses of all sets of predictions, by name."""
        named = dict[str, Tensor]()
        for name, predictions, logits, pairs in zip(names, sets, masks, matches, strict=True):
            values = losses(predictions, logits, targets, pairs, self.num_points)
            named |= {name + kind: value for kind, value in values.items()}
        return named
