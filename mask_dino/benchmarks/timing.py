"""The parts of a step, and where in a model of OpenMMLab they happen."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
        self.running = list[str]()  # innermost last
        self.changes = list[tuple[str, Stamp]]()  # who runs from when on

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
        totals = dict[str, float]()
        for (name, start), (_, end) in zip(self.changes, self.changes[1:], strict=False):
            totals[name] = totals.get(name, 0.0) + _between(start, end)
        return totals


def _between(start: Stamp, end: Stamp) -> float:
    if isinstance(start, float) and isinstance(end, float):
        return end - start
    assert isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event)
    return start.elapsed_time(end) / 1000


BACKWARD, OPTIMISER, POSTPROCESSING = 'backward', 'optimiser', 'post-processing'

# What runs inside another part is not counted there.
PARTS: dict[str, tuple[str, ...]] = {
    'preprocessing': ('data_preprocessor',),
    'backbone': ('backbone', 'neck'),
    'pixel decoder': ('panoptic_head.pixel_decoder', 'decode_head.pixel_decoder', 'encoder'),
    'decoder + heads': (
        *(
            f'{head}.{method}'
            for head in ('panoptic_head', 'decode_head')
            for method in ('loss', 'predict')
        ),
        *(
            f'{head}.{method}'
            for head in ('bbox_head', 'rpn_head', 'roi_head')
            for method in ('loss', 'predict')
        ),
        'rpn_head.loss_and_predict',
        'forward_transformer',
    ),
    'matcher': (
        *(
            f'{head}.criterion.matcher'
            for head in ('panoptic_head', 'decode_head.head', 'decode_head')
        ),
        *(f'{head}.assigner.assign' for head in ('panoptic_head', 'bbox_head', 'decode_head')),
    ),
    'mask losses': (
        *(
            f'{head}.criterion.mask_losses'
            for head in ('panoptic_head', 'decode_head.head', 'decode_head')
        ),
        *(
            f'{head}.criterion.sample_points'
            for head in ('panoptic_head', 'decode_head.head', 'decode_head')
        ),
    ),
    'other losses': (
        *(f'{head}.criterion' for head in ('panoptic_head', 'decode_head.head', 'decode_head')),
        *(
            f'{head}.loss_by_feat'
            for head in ('panoptic_head', 'bbox_head', 'mask_head', 'decode_head')
        ),
    ),
    POSTPROCESSING: (
        'panoptic_fusion_head.predict',
        'bbox_head.predict_by_feat',
        'add_pred_to_datasample',
        'postprocess_result',
    ),
}
ORDER = (*list(PARTS)[:-1], BACKWARD, OPTIMISER, POSTPROCESSING)


@contextmanager
def watched(model: nn.Module, optim_wrapper: OptimWrapper, spans: Spans) -> Iterator[None]:
    """Tell ``spans`` which part runs, while the model and its optimiser are used inside."""
    with ExitStack() as stack:
        for part, path in ((part, path) for part, paths in PARTS.items() for path in paths):
            stack.enter_context(_replaced(model, path, part, spans))
        for method, part in dict(backward=BACKWARD, step=OPTIMISER, zero_grad=OPTIMISER).items():
            stack.enter_context(_replaced(optim_wrapper, method, part, spans))
        yield


class _Timed:
    """Stands in for something that is called."""

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
