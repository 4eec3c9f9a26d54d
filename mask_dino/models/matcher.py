"""Hybrid matching: predictions are assigned to targets by class, box and mask together."""

import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..structures import Matches, Predictions, Targets
from .points import random_points, sample_features, sample_masks


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
        self, layers: list[Predictions], mask_features: Tensor, targets: list[Targets], num_boxed_classes: int
    ) -> list[Matches]:
        """Return the matches of each layer.

        Args:
            layers: Predictions of the matching queries, all of the same number of queries.
            mask_features: (B, C, h, w).
            num_boxed_classes: Labels from here on have no box cost (stuff decoupling, paper, section 3.6).
        """
        costs = [
            torch.stack(self.image_costs([_pick(p, i) for p in layers], mask_features[i], target, num_boxed_classes))
            for i, target in enumerate(targets)
        ]  # per image: (num_layers, Q, N)
        device = mask_features.device
        assigned = [[] for _ in layers]  # type: list[list[tuple[Tensor, Tensor]]]
        for matrices in _to_host(costs):
            for layer, matrix in zip(assigned, matrices):
                rows, columns = linear_sum_assignment(self.finite(matrix).numpy())
                layer.append((torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device)))
        return assigned

    def image_costs(
        self, layers: list[Predictions], features: Tensor, target: Targets, num_boxed_classes: int
    ) -> list[Tensor]:
        """Return the cost matrices (Q, N) of one image, a layer each."""
        truth = InstanceData(labels=target.labels, bboxes=bbox_cxcywh_to_xyxy(target.boxes))
        at_points = None
        if self.num_points:
            points = random_points(self.num_points, features.device)
            truth.masks = sample_masks(target.masks, points)
            at_points = sample_features(features, points)
        boxed = target.labels < num_boxed_classes
        return [self.cost(predictions, at_points, truth, boxed) for predictions in layers]

    def cost(self, predictions: Predictions, at_points: Tensor | None, truth: InstanceData, boxed: Tensor) -> Tensor:
        """Return the cost matrix (Q, N) of one layer of one image, from mask features (C, P) at points."""
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


def _pick(predictions: Predictions, image: int) -> Predictions:
    return Predictions(*(x[image].float() for x in predictions))


def _to_host(costs: list[Tensor]) -> list[Tensor]:
    """Move tensors to the host in one transfer, the only synchronisation of matching."""
    flat = torch.cat([x.flatten() for x in costs]).cpu()
    return [x.view(y.shape) for x, y in zip(flat.split([y.numel() for y in costs]), costs)]
