"""The forms of deformable sampling, compared: equality, time and memory."""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import Tensor

from mask_dino.benchmarks.step import peak_memory
from mask_dino.benchmarks.timing import Spans
from mask_dino.ops.deformable_attention import IM2COL_STEP, has_kernel
from mask_dino.ops.grid_sampling import sample_grid
from mask_dino.ops.sparse_sampling import sample_sparse

HEADS, CHANNELS, POINTS, BATCH = 8, 32, 4, 2
ROUNDS = 10

Form = Callable[[Tensor, Tensor, Tensor], Tensor]


class Inputs(NamedTuple):
    """What is sampled, where, and the gradient of the sums."""

    values: Tensor  # (B, L, heads, C)
    locations: Tensor  # (B, Q, heads, V, points, 2)
    weights: Tensor  # (B, Q, heads, V, points)
    gradient: Tensor  # (B, Q, heads * C)


def sampling_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield the time and memory of every form, and its largest difference from the first one."""
    side = 8 if small else 128  # 1024 pixels at stride 8
    sizes = [(side // scale, side // scale) for scale in (1, 2, 4, 8)]
    num_tokens = sum(height * width for height, width in sizes)
    for place, num_queries in dict(encoder=num_tokens, decoder=400).items():
        inputs = make_inputs(sizes, num_queries, device)
        reference: list[Tensor] = []
        for name, form in list_forms(sizes, device).items():
            results = run(form, inputs)
            reference = reference or results
            differences = [(a - b).abs().max() for a, b in zip(results, reference, strict=True)]
            scales = [tensor.abs().max() for tensor in reference]
            errors = [float(a / b) for a, b in zip(differences, scales, strict=True)]
            names = ('error of sums', 'of values', 'of locations', 'of weights')
            yield dict(
                place=place,
                form=name,
                **measure_form(form, inputs, device),
                **dict(zip(names, errors, strict=True)),
            )


def list_forms(sizes: list[tuple[int, int]], device: torch.device) -> dict[str, Form]:
    """Return the forms that run on a device; mmcv's kernel is first where there is one."""
    grid = partial(sample_levels, sizes)
    if device.type == 'cpu':
        return dict(sparse=lambda values, *points: sample_sparse(values, sizes, *points), grid=grid)
    shapes = torch.tensor(sizes, device=device)
    starts = shapes.prod(1).cumsum(0) - shapes.prod(1)

    def sample_kernel(values: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return MultiScaleDeformableAttnFunction.apply(
            values, shapes, starts, locations, weights, IM2COL_STEP
        )

    return dict(kernel=sample_kernel, grid=grid) if has_kernel(device) else dict(grid=grid)


def sample_levels(
    sizes: list[tuple[int, int]], values: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """Sample by ``grid_sample``."""
    return sample_grid(values, sizes, locations, weights)


def make_inputs(sizes: list[tuple[int, int]], num_queries: int, device: torch.device) -> Inputs:
    """Return random inputs; some points lie outside of the maps."""
    torch.manual_seed(0)
    num_tokens = sum(height * width for height, width in sizes)
    shape = (BATCH, num_queries, HEADS, len(sizes), POINTS)
    values = torch.randn(BATCH, num_tokens, HEADS, CHANNELS, device=device)
    locations = torch.rand(*shape, 2, device=device) * 1.2 - 0.1
    weights = torch.rand(shape, device=device)
    gradient = torch.randn(BATCH, num_queries, HEADS * CHANNELS, device=device)
    for tensor in (values, locations, weights):
        tensor.requires_grad_()
    return Inputs(values, locations, weights, gradient)


def run(form: Form, inputs: Inputs) -> list[Tensor]:
    """Return the sums and the gradients of values, locations and weights."""
    points = inputs[:3]
    sums = form(*points)
    gradients = torch.autograd.grad(sums, points, inputs.gradient)
    return [sums.detach(), *gradients]


def measure_form(form: Form, inputs: Inputs, device: torch.device) -> dict[str, float]:
    """Return the milliseconds of sums without and with gradients, and the peak memory of the latter."""
    with torch.no_grad():
        forward = measure_seconds(partial(form, *inputs[:3]), device)
    both = measure_seconds(partial(run, form, inputs), device)
    with peak_memory(device) as peak:
        run(form, inputs)
    megabytes = (peak.value or 0) / 2**20
    return {'forward ms': forward * 1e3, 'forward + backward ms': both * 1e3, 'peak MB': megabytes}


def measure_seconds(step: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a step."""
    times = []
    for _ in range(ROUNDS):
        spans = Spans(device)
        with spans.part('step'):
            step()
        times.append(sum(spans.seconds().values()))
    return median(times)
