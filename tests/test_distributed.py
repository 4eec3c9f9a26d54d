"""Two processes make the same step as one with the same global batch."""

from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers.tiny import SIZE, build, random_targets
from torch import Tensor

from mask_dino.structures import Targets


def fixed_points(num_points: int, device: torch.device, known: Tensor | None = None) -> Tensor:
    return torch.rand(num_points, 2, generator=torch.Generator().manual_seed(0))


def global_batch() -> tuple[Tensor, list[Targets]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, *SIZE, generator=generator)
    # as many denoising groups in either half, but not as many objects
    return images, [random_targets(n, generator) for n in (3, 1, 0, 3)]


def step(images: Tensor, targets: list[Targets]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the losses and gradients of one step without randomness in matching and denoising."""
    model = build(denoising=dict(noise_scale=0.0)).train()  # which puts batch norm into evaluation
    with (
        patch('mask_dino.models.matcher.random_points', fixed_points),
        patch('mask_dino.ops.points.random_points', fixed_points),
    ):
        losses = model.panoptic_head.loss(model.extract_feat(images), targets)
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in losses.items()}, gradients


def half_step(rank: int, folder: str) -> None:
    """Make the step of one of two processes, and average over both as DistributedDataParallel does."""
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    images, targets = global_batch()
    half = slice(2 * rank, 2 * rank + 2)
    results = step(images[half], targets[half])
    for values in results:
        for value in values.values():
            dist.all_reduce(value)
            value /= 2
    if rank == 0:
        torch.save(results, f'{folder}/results.pth')
    dist.destroy_process_group()


def test_two_processes_make_the_step_of_one(tmp_path: Path):
    losses, gradients = step(*global_batch())
    mp.spawn(half_step, args=(str(tmp_path),), nprocs=2)
    halves = torch.load(tmp_path / 'results.pth', weights_only=True)
    assert halves[0].keys() == losses.keys()
    assert halves[1].keys() == gradients.keys()
    for name, value in losses.items():
        torch.testing.assert_close(halves[0][name], value, rtol=1e-4, atol=1e-6, msg=name)
    norms = {name: value.norm() for name, value in gradients.items()}
    # A bias before a group norm of one channel to a group has no gradient but rounding, of all that flows through it.
    rounding = 1e-6 * torch.stack(list(norms.values())).norm().item()
    for name, norm in norms.items():
        torch.testing.assert_close(halves[1][name].norm(), norm, rtol=1e-3, atol=rounding, msg=name)
