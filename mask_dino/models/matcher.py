"""Hybrid matching: predictions are assigned to targets by class, box and mask together."""

import logging

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.task_modules.assigners.match_cost import BaseMatchCost
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..ops.interpolation import sample_features, sample_masks
from ..ops.points import random_points
from ..structures import Matches, Predictions, Targets

MAX_POINT_LOGITS = 2**24
"""Mask logits at points that are compared at once, 64 MB: bounds memory, changes no cost."""
MAX_POINT_LOGITS_ON_CPU = 2**22
"""The same on a CPU. On a GPU, mmdet's costs make the host wait twice for each part."""
WARNING_INTERVAL = 50
"""Steps between two warnings of costs that are not finite."""


@TASK_UTILS.register_module()
class HybridMatcher:
    """One-to-one assignment of lowest cost, for all layers of a batch at once (paper, section 3.4).

    Args:
        match_costs: Configs of mmdet match costs on class logits (``scores``) and masks at random points (``masks``).
        box_costs: Configs of mmdet match costs on boxes (``bboxes``), normalised xyxy. Objects without box
            supervision have no box cost.
        num_points: Points at which masks are compared; 0 leaves masks out.
    """

    def __init__(
        self, match_costs: list[dict], box_costs: list[dict], num_points: int = 12544
    ) -> None:
        self.match_costs = [TASK_UTILS.build(cost) for cost in match_costs]
        self.box_costs = [TASK_UTILS.build(cost) for cost in box_costs]
        self.num_points = num_points
        self.num_nonfinite = 0
        self.num_calls = 0  # one per training step
        self.next_warning = 0

    @torch.no_grad()
    def __call__(
        self,
        predictions: Predictions,
        mask_features: Tensor,
        targets: list[Targets],
        num_boxed_classes: int,
    ) -> Matches:
        """Match every set of predictions with the targets of each of B images.

        Args:
            predictions: (S, B, Q, ...), S sets of them.
            mask_features: (B, C, h, w) at stride 4.
            targets: Of each image; N objects have min(Q, N) matches.
            num_boxed_classes: Labels from here on have no box cost (stuff decoupling, paper, section 3.6).

        Returns:
            Per image, the indices (S, M) of queries and of the targets that they are matched with.
        """
        self.num_calls += 1
        costs = []
        for index, target in enumerate(targets):
            image = Predictions(*(x[:, index].float() for x in predictions))  # (S, Q, ...)
            costs.append(self.costs(image, mask_features[index], target, num_boxed_classes))
        device = mask_features.device
        return [self.assign(self.replace_nonfinite(c), device) for c in _move_to_host(costs)]

    def costs(
        self, predictions: Predictions, features: Tensor, target: Targets, num_boxed_classes: int
    ) -> Tensor:
        """Return the costs (S, Q, N) between predictions (S, Q, ...) and targets of one image."""
        truth = InstanceData(labels=target.labels, bboxes=bbox_cxcywh_to_xyxy(target.boxes))
        features_at_points = None
        if self.num_points:
            points = random_points(self.num_points, features.device, target.known)
            truth.masks = sample_masks(target.masks, points)  # (N, P)
            features_at_points = sample_features(features, points)  # (C, P)
        has_box = target.labels < num_boxed_classes
        # Some queries at a time, of all sets together.
        max_logits = MAX_POINT_LOGITS_ON_CPU if features.is_cpu else MAX_POINT_LOGITS
        size = max_logits // max(1, self.num_points)
        parts = [x.flatten(0, 1).split(size) for x in predictions]
        costs = []
        for logits, boxes, mask_embed in zip(*parts, strict=True):
            part = Predictions(logits, boxes, mask_embed)
            costs.append(self.costs_of_part(part, features_at_points, truth, has_box))
        return torch.cat(costs).unflatten(0, predictions.logits.shape[:2])

    def costs_of_part(
        self,
        predictions: Predictions,
        features_at_points: Tensor | None,
        truth: InstanceData,
        has_box: Tensor,
    ) -> Tensor:
        """Return the costs (Q, N) of some predictions (Q, ...), given mask features (C, P) at points."""
        predicted = InstanceData(
            scores=predictions.logits, bboxes=bbox_cxcywh_to_xyxy(predictions.boxes)
        )
        if features_at_points is not None:
            predicted.masks = predictions.mask_embed @ features_at_points
        meta = dict(img_shape=(1, 1))  # boxes are normalised already
        total = sum(cost(predicted, truth, img_meta=meta) for cost in self.match_costs)
        box_total = sum(cost(predicted, truth, img_meta=meta) for cost in self.box_costs)
        # A constant column does not change the assignment, so targets without boxes get zero box cost.
        return total + box_total * has_box

    def replace_nonfinite(self, costs: Tensor) -> Tensor:
        """Replace costs (S, Q, N) that are not finite by the largest finite one, so that matching never fails."""
        is_finite = costs.isfinite()
        if is_finite.all():
            return costs
        self.num_nonfinite += int((~is_finite).sum())
        self.warn_of_nonfinite()
        largest = costs[is_finite].max() if is_finite.any() else costs.new_zeros(())
        return torch.where(is_finite, costs, largest)

    def warn_of_nonfinite(self) -> None:
        """Log the count of costs that are not finite, once in `WARNING_INTERVAL` steps."""
        if self.num_calls < self.next_warning:
            return
        self.next_warning = self.num_calls + WARNING_INTERVAL
        print_log(
            f'HybridMatcher: {self.num_nonfinite} matching costs so far were NaN or infinite: predictions overflow. '
            'If this goes on, lower the learning rate or train in float32',
            logger='current',
            level=logging.WARNING,
        )

    @staticmethod
    def assign(costs: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return query and target indices (S, M) of the cheapest assignments of costs (S, Q, N)."""
        pairs = np.array([linear_sum_assignment(cost) for cost in costs.numpy()])  # (S, 2, M)
        query, target = torch.from_numpy(pairs).to(device, non_blocking=True).unbind(1)
        return query, target


def _move_to_host(costs: list[Tensor]) -> list[Tensor]:
    """Move tensors to the host in one transfer, the only synchronisation of matching."""
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()
    parts = flat.split([cost.numel() for cost in costs])
    return [part.view(cost.shape) for part, cost in zip(parts, costs, strict=True)]


@TASK_UTILS.register_module()
class MaskCrossEntropyCost(BaseMatchCost):
    """mmdet's binary cross-entropy between masks, in a third of its time.

    With logits x and masks t, ``t * softplus(-x) + (1 - t) * softplus(x)`` is ``softplus(x) - t * x``: one softplus
    instead of two, and one product.
    """

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict | None = None
    ) -> Tensor:
        """Return the costs (Q, N) of mask logits (Q, P) for masks (N, P) in [0, 1]."""
        logits = pred_instances.masks.flatten(1).float()
        masks = gt_instances.masks.flatten(1).float()
        total = F.softplus(logits).sum(1, keepdim=True) - logits @ masks.T
        cost: Tensor = total / logits.shape[1] * self.weight
        return cost
