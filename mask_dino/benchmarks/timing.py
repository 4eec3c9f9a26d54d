"""The parts of a step, and where in a model of OpenMMLab they happen."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

Stamp = float | torch.cuda.Event

OTHER = 'other'


class Spans:
    """Measure the time of named parts, without waiting for the device.

    On a GPU the stamps are CUDA events. The time of a part includes its kernels, and the time when the device waits for
    the host to launch them.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.running: list[str] = []  # innermost last
        self.changes: list[tuple[str, Stamp]] = []  # which part runs from each stamp on

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as ``name``, and not as the part around it."""
        self.running.append(name)
        self._change()
        try:
            yield
        finally:
            self.running.pop()
            self._change()

    def _change(self) -> None:
        self.changes.append((self.running[-1] if self.running else OTHER, self._now()))

    def _now(self) -> Stamp:
        if self.device.type != 'cuda':
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each part; their sum is all the time that passed."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        totals: dict[str, float] = {}
        for (name, start), (_, end) in pairwise(self.changes):
            duration = _between(start, end)
            totals[name] = totals.get(name, 0.0) + duration
        return totals


def _between(start: Stamp, end: Stamp) -> float:
    if isinstance(start, float) and isinstance(end, float):
        return end - start
    assert isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event)
    return start.elapsed_time(end) / 1000


BACKWARD, OPTIMISER, POSTPROCESSING = 'backward', 'optimiser', 'post-processing'

HEADS = ('panoptic_head', 'decode_head')
"""Heads of transformers: ours under both frameworks, and heads of other models with these names."""
BOX_HEADS = ('bbox_head', 'rpn_head', 'roi_head')


def _below(heads: tuple[str, ...], *names: str) -> tuple[str, ...]:
    """Return the paths of modules or methods below heads."""
    return tuple(f'{head}.{name}' for head in heads for name in names)


# What runs inside another part is not counted there.
PARTS: dict[str, tuple[str, ...]] = {
    'preprocessing': ('data_preprocessor',),
    'backbone': ('backbone', 'neck'),
    'pixel decoder': (*_below(HEADS, 'pixel_decoder'), 'encoder'),
    'decoder + heads': (
        *_below((*HEADS, *BOX_HEADS), 'loss', 'predict'),
        'rpn_head.loss_and_predict',
        'forward_transformer',
    ),
    'matcher': (
        *_below(HEADS, 'criterion.matcher'),
        *_below((*HEADS, 'bbox_head'), 'assigner.assign'),
    ),
    'mask losses': _below(HEADS, 'criterion.mask_losses', 'criterion.sample_points'),
    'other losses': (
        *_below(HEADS, 'criterion'),
        *_below((*HEADS, 'bbox_head', 'mask_head'), 'loss_by_feat'),
    ),
    POSTPROCESSING: (
        'panoptic_fusion_head.predict',
        'bbox_head.predict_by_feat',
        'add_pred_to_datasample',
        'postprocess_result',
    ),
}
PATHS = [(part, path) for part, paths in PARTS.items() for path in paths]
OPTIMISER_PARTS = dict(backward=BACKWARD, step=OPTIMISER, zero_grad=OPTIMISER)
"""Methods of an OptimWrapper."""
ORDER = (*list(PARTS)[:-1], BACKWARD, OPTIMISER, POSTPROCESSING)


@contextmanager
def watched(model: nn.Module, optim_wrapper: OptimWrapper, spans: Spans) -> Iterator[None]:
    """Tell ``spans`` which part runs, while the model and its optimiser are used inside."""
    with ExitStack() as stack:
        for part, path in PATHS:
            timed = _replaced(model, path, part, spans)
            stack.enter_context(timed)
        for method, part in OPTIMISER_PARTS.items():
            timed = _replaced(optim_wrapper, method, part, spans)
            stack.enter_context(timed)
        yield


class _Timed:
    """Takes the place of something that is called, and times it."""

    def __init__(self, target: Callable, part: str, spans: Spans) -> None:
        self._target, self._part, self._spans = target, part, spans

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._spans.part(self._part):
            return self._target(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


@contextmanager
def _replaced(root: object, path: str, part: str, spans: Spans) -> Iterator[None]:
    """Time what is found at a dotted path below ``root``, if there is anything."""
    *parents, name = path.split('.')
    owner = root
    for parent in parents:
        owner = getattr(owner, parent, None)
    target = getattr(owner, name, None)
    if target is None:
        yield
        return
    if isinstance(target, nn.Module):  # its call ends in its forward
        owner, name, target = target, 'forward', target.forward
    own = vars(owner)
    restore = own.get(name)
    setattr(owner, name, _Timed(target, part, spans))
    try:
        yield
    finally:
        if restore is None:
            delattr(owner, name)
        else:
            setattr(owner, name, restore)
