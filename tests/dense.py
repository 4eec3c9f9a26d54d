"""A dense, obvious criterion: every mask at full resolution, every layer and object by itself.

It is slow on purpose. What the package computes at shared points must agree with it in expectation.
"""

import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

from mask_dino.structures import Matches, Predictions, Targets


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values (N, P) of maps (N, h, w), each at its own points (N, P, 2)."""
    return F.grid_sample(maps[:, None], points[:, None] * 2 - 1, align_corners=False)[:, 0, 0]


def mask_losses(logits: Tensor, masks: Tensor, num_points: int) -> tuple[Tensor, Tensor]:
    """Point-wise cross-entropy and dice, summed over masks (N, h, w), by the original's importance sampling."""
    candidates = torch.rand(len(logits), 3 * num_points, 2)
    uncertain = at_points(logits, candidates).abs().topk(int(0.75 * num_points), dim=1, largest=False).indices
    chosen = torch.stack([c[i] for c, i in zip(candidates, uncertain, strict=True)])
    points = torch.cat((chosen, torch.rand(len(logits), num_points - chosen.shape[1], 2)), 1)
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
    predictions: Predictions, features: Tensor, targets: list[Targets], matches: Matches, num_points: int
) -> dict[str, Tensor]:
    """Weighted losses of one set of predictions, as published."""
    totals = dict.fromkeys(('loss_cls', 'loss_bbox', 'loss_iou', 'loss_mask', 'loss_dice'), torch.zeros(()))
    masks = predictions.decode(features).masks
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
