"""Mask DINO without its parts, and a hook that records how a training goes."""

import json
import time
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from mask_dino.models.criterion import MaskDINOCriterion
from mask_dino.models.denoising import UnifiedDenoising
from mask_dino.models.loss_inputs import LossInputs
from mask_dino.ops.points import MaskPoints
from mask_dino.structures import Denoising, Targets


@MODELS.register_module()
class BoxDenoisingCriterion(MaskDINOCriterion):
    """Compares classes and boxes of denoising queries with their objects, but not their masks."""

    def losses(
        self, inputs: LossInputs, targets: list[Targets], points: list[MaskPoints] | None
    ) -> dict[str, Tensor]:
        """Return the losses of sets of predictions."""
        is_denoising = any('dn_' in prefix for prefix in inputs.prefixes)
        return super().losses(inputs, targets, None if is_denoising else points)


@MODELS.register_module()
class MatchingOnlyCriterion(MaskDINOCriterion):
    """Has no losses of denoising queries."""

    def losses(
        self, inputs: LossInputs, targets: list[Targets], points: list[MaskPoints] | None
    ) -> dict[str, Tensor]:
        """Return the losses of sets of predictions."""
        if any('dn_' in prefix for prefix in inputs.prefixes):
            return {}
        return super().losses(inputs, targets, points)


@MODELS.register_module()
class NoDenoising(UnifiedDenoising):
    """One empty query, because the decoder expects some."""

    def forward(self, targets: list[Targets], num_matching: int) -> Denoising:
        """Return denoising queries as for images without objects, which no matching query sees."""
        nothing = [Targets(*(values[:0] for values in target[:3])) for target in targets]
        noised = super().forward(nothing, num_matching)
        mask = noised.attn_mask.clone()
        mask[1:, 0] = True
        return noised._replace(attn_mask=mask)


@HOOKS.register_module()
class CurveHook(Hook):
    """Writes the figures of every validation, with the steps and the seconds of training before it.

    Args:
        path: JSON file to write.
        about: What is trained; it is also written.
    """

    def __init__(self, path: str, about: dict) -> None:
        self.path = Path(path)
        self.record = dict(about, curve=[], is_finished=False)
        self.seconds = 0.0
        self.start = 0.0

    def before_train(self, runner: Runner) -> None:
        """Go on with the record of a training that was stopped."""
        if runner.iter and self.path.exists():
            self.record = json.loads(self.path.read_text())
            curve = [point for point in self.record['curve'] if point['step'] <= runner.iter]
            self.record['curve'] = curve
            self.seconds = curve[-1]['seconds'] if curve else 0.0
        self.record['device'] = describe_device()
        self.start = time.monotonic()

    def before_val(self, runner: Runner) -> None:
        """Stop the clock."""
        self.seconds += time.monotonic() - self.start

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the figures."""
        figures = {name: float(value) for name, value in (metrics or {}).items()}
        point = dict(step=runner.iter, seconds=round(self.seconds, 1))
        self.record['curve'].append(point | figures)
        self.write()
        self.start = time.monotonic()

    def after_train(self, runner: Runner) -> None:
        """Write that the training is complete."""
        self.record['is_finished'] = True
        self.write()

    def write(self) -> None:
        """Write the record; the file is whole at every moment."""
        unfinished = self.path.with_suffix('.unfinished')
        unfinished.write_text(json.dumps(self.record, indent=1) + '\n')
        unfinished.replace(self.path)


def describe_device() -> str:
    """Return the name of the GPU, or the kind of the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'CPU, {names[0]}' if names else 'CPU'
