"""Agreement with the original's outputs, losses and gradients, in float32 and in mixed precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from helpers import golden
from helpers.reference import CASES, DATA, Image, build, compute
from mmengine.registry import init_default_scope
from test_golden_training import NAME, our_name, step_without_randomness, trace
from torch import Tensor, nn

from gpu.speed import DTYPES, allow_tf32

TOLERANCE = 1e-3  # absolute and relative, as in the tests


def parity_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield how the network's arrays differ from the original's, for every case and precision."""
    init_default_scope('mmdet')
    allow_tf32(False)
    if not small:
        yield from compare_training(device)
    for name in ['r50_ade20k'] if small else [case for case in CASES if case != NAME]:
        case, reference = golden.load_case(DATA / name)
        images = [Image(**image) for image in case['images']]
        model = build(name).to(device)
        for precision in ('float32',) if small else ('float32', 'tf32', 'fp16', 'bf16'):
            arrays = compute_in(precision, model, images, reference)
            yield dict(case=name, precision=precision, **compare(arrays, reference))
    allow_tf32(False)


def compute_in(
    precision: str, model: nn.Module, images: list[Image], reference: dict[str, np.ndarray]
) -> dict[str, Tensor]:
    """Return the network's arrays, computed in a precision."""
    allow_tf32(precision == 'tf32')
    device_type = next(model.parameters()).device.type
    context: AbstractContextManager = nullcontext()
    if precision in DTYPES:
        context = torch.autocast(device_type, DTYPES[precision])
    with context:
        return compute(model, images, reference)


def compare(arrays: dict[str, Tensor], reference: dict[str, np.ndarray]) -> dict[str, object]:
    """Return the share of values within the tolerance, the largest difference, and mean ones of predictions."""
    differences, close = {}, []
    for name, array in arrays.items():
        ours = array.float().cpu().numpy()
        theirs = reference[name]
        differences[name] = np.abs(ours - theirs)
        close.append(np.isclose(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE).ravel())
    worst = max(differences, key=lambda name: differences[name].max())
    means = {
        f'mean of {name}': float(differences[f'pred_{name}'].mean()) for name in ('logits', 'boxes')
    }
    return {
        'share within 1e-3': float(np.concatenate(close).mean()),
        'largest': float(differences[worst].max()),
        'in': worst,
        **means,
    }


def compare_training(device: torch.device) -> Iterator[dict]:
    """Yield the largest relative differences of losses and of the norms of gradients."""
    case = golden.load_case(DATA / NAME)[0]
    model, losses = step_without_randomness(case, device)
    errors = []
    for name, value in case['exact']['losses'].items():
        ours = losses[our_name(name)]
        errors.append(relative_error(ours, value))
    yield dict(case='losses', precision='float32', largest=max(errors))
    expected_grads = case['exact']['grads']
    names = list(expected_grads)
    origins = trace(model, names)
    errors = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            norm = expected_grads[names[origins[name][0]]]['norm']
            errors.append(relative_error(parameter.grad.norm().item(), norm))
    yield dict(case='norms of gradients', precision='float32', largest=max(errors))


def relative_error(ours: float, theirs: float) -> float:
    """Return the difference as a share of the original's value; a small value, or zero, counts as 0.01."""
    return abs(ours - theirs) / max(abs(theirs), 1e-2)
