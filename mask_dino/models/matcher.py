"""Hybrid matching: predictions are assigned to targets by class, box and mask together."""

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.task_modules.assigners.match_cost import CrossEntropyLossCost
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..structures import Matches, Predictions, Targets
from .points import random_points, sample_features, sample_masks

MAX_POINT_LOGITS = 2**22
"""Mask logits at points that are compared at once: bounds memory, changes no cost."""


@TASK_UTILS.register_module()
class HybridMatcher:
    """One-to-one assignment of least cost, for all layers of a batch at once (paper, section 3.4).

    Args:
        match_costs: Configs of mmdet match costs on class logits (``scores``) and masks at random points (``masks``).
        box_costs: Configs of mmdet match costs on boxes (``bboxes``), which are normalised xyxy; objects that are
            given no box supervision are given no box cost.
        num_points: Points at which masks are compared; 0 leaves masks out.
    """

    def __init__(self, match_costs: list[dict], box_costs: list[dict], num_points: int = 12544) -> None:
        self.match_costs = [TASK_UTILS.build(cost) for cost in match_costs]
        self.box_costs = [TASK_UTILS.build(cost) for cost in box_costs]
        self.num_points = num_points
        self.num_nonfinite = 0

    @torch.no_grad()
    def __call__(
        self, predictions: Predictions, mask_features: Tensor, targets: list[Targets], num_boxed_classes: int
    ) -> Matches:
        """Match every set of predictions (S, B, Q, ...) with the targets.

        Args:
            mask_features: (B, C, h, w).
            num_boxed_classes: Labels from here on have no box cost (stuff decoupling, paper, section 3.6).
        """
        costs = []
        for i, target in enumerate(targets):
            image = Predictions(*(x[:, i].float() for x in predictions))
            costs.append(self.costs(image, mask_features[i], target, num_boxed_classes))
        device = mask_features.device
        return [self.assign(self.finite(cost), device) for cost in _to_host(costs)]

    def costs(self, predictions: Predictions, features: Tensor, target: Targets, num_boxed_classes: int) -> Tensor:
        """Return the costs (S, Q, N) between predictions (S, Q, ...) and targets of one image."""
        truth = InstanceData(labels=target.labels, bboxes=bbox_cxcywh_to_xyxy(target.boxes))
        at_points = None
        if self.num_points:
            points = random_points(self.num_points, features.device, target.known)
            truth.masks = sample_masks(target.masks, points)
            at_points = sample_features(features, points)
        boxed = target.labels < num_boxed_classes
        size = MAX_POINT_LOGITS // max(1, self.num_points)
        chunks = zip(*(x.flatten(0, 1).split(size) for x in predictions), strict=True)
        costs = torch.cat([self.cost(Predictions(*chunk), at_points, truth, boxed) for chunk in chunks])
        return costs.unflatten(0, predictions.logits.shape[:2])

    def cost(self, predictions: Predictions, at_points: Tensor | None, truth: InstanceData, boxed: Tensor) -> Tensor:
        """Return the cost matrix (Q, N) of predictions (Q, ...), given mask features (C, P) at points."""
        guess = InstanceData(scores=predictions.logits, bboxes=bbox_cxcywh_to_xyxy(predictions.boxes))
        if at_points is not None:
            guess.masks = predictions.mask_embed @ at_points
        size = dict(img_shape=(1, 1))  # boxes are normalised already
        total = sum(cost(guess, truth, img_meta=size) for cost in self.match_costs)
        # A cost that is the same for every query does not change the assignment, zero as little as any other.
        return total + sum(cost(guess, truth, img_meta=size) for cost in self.box_costs) * boxed

    def finite(self, costs: Tensor) -> Tensor:
        """Replace what is not finite by the largest finite cost, and count it: a diverged model must not crash here."""
        good = costs.isfinite()
        if good.all():
            return costs
        self.num_nonfinite += int((~good).sum())
        print_log(
            f'HybridMatcher: {self.num_nonfinite} matching costs so far were NaN or infinite: predictions overflow. '
            'If this goes on, lower the learning rate or train in float32',
            logger='current',
            level=30,
        )
        largest = costs[good].max() if good.any() else costs.new_zeros(())
        return torch.where(good, costs, largest)

    @staticmethod
    def assign(costs: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return query and target indices (S, M) of the cheapest assignments of costs (S, Q, N)."""
        pairs = np.array([linear_sum_assignment(cost) for cost in costs.numpy()])  # (S, 2, M)
        query, target = torch.from_numpy(pairs).to(device, non_blocking=True).unbind(1)
        return query, target


def _to_host(costs: list[Tensor]) -> list[Tensor]:
    """Move tensors to the host in one transfer, the only synchronisation of matching."""
    flat = torch.cat([x.flatten() for x in costs]).cpu()
    return [x.view(y.shape) for x, y in zip(flat.split([y.numel() for y in costs]), costs, strict=True)]


@TASK_UTILS.register_module()
class MaskCrossEntropyCost(CrossEntropyLossCost):
    """mmdet's binary cross-entropy between masks, in a third of its time.

    ``t * softplus(-x) + (1 - t) * softplus(x)`` is ``softplus(x) - t * x``, so that one softplus does.
    """

    def _binary_cross_entropy(self, cls_pred: Tensor, gt_labels: Tensor) -> Tensor:
        """Return the costs (Q, N) of mask logits (Q, P) for masks (N, P)."""
        return (F.softplus(cls_pred).sum(1, keepdim=True) - cls_pred @ gt_labels.T) / cls_pred.shape[1]
