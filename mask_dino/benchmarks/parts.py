"""The parts of a step, and where in a model of OpenMMLab they happen."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from mmengine.optim import OptimWrapper
from torch import nn

from .spans import Spans

BACKWARD, OPTIMISER, POSTPROCESSING = 'backward', 'optimiser', 'post-processing'

# What runs inside another part is not counted there.
PARTS: dict[str, tuple[str, ...]] = {
    'preprocessing': ('data_preprocessor',),
    'backbone': ('backbone', 'neck'),
    'pixel decoder': ('panoptic_head.pixel_decoder', 'decode_head.pixel_decoder', 'encoder'),
    'decoder + heads': (
        *(f'{head}.{method}' for head in ('panoptic_head', 'decode_head') for method in ('loss', 'predict')),
        *(f'{head}.{method}' for head in ('bbox_head', 'rpn_head', 'roi_head') for method in ('loss', 'predict')),
        'rpn_head.loss_and_predict',
        'forward_transformer',
    ),
    'matcher': (
        *(f'{head}.criterion.matcher' for head in ('panoptic_head', 'decode_head.head', 'decode_head')),
        *(f'{head}.assigner.assign' for head in ('panoptic_head', 'bbox_head', 'decode_head')),
    ),
    'mask losses': (
        *(f'{head}.criterion.mask_losses' for head in ('panoptic_head', 'decode_head.head', 'decode_head')),
        *(f'{head}.criterion.sample_points' for head in ('panoptic_head', 'decode_head.head', 'decode_head')),
    ),
    'other losses': (
        *(f'{head}.criterion' for head in ('panoptic_head', 'decode_head.head', 'decode_head')),
        *(f'{head}.loss_by_feat' for head in ('panoptic_head', 'bbox_head', 'mask_head', 'decode_head')),
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
