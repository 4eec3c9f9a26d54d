"""Three hundred random batches: whatever the data and the numbers are, a step does not crash and names its losses."""

import logging
import math

import pytest
import torch
from helpers.tiny import build, random_targets
from torch import Tensor

BATCHES = 300
MAX_OBJECTS, MAX_SIZE = 150, 130
SMALL = dict(
    embed_dims=64,  # two channels for each group of the normalisation, which a map of one pixel needs
    decoder=dict(num_layers=1),
    criterion=dict(matcher=dict(num_points=32), point_sampler=dict(num_points=32)),
)


def features(height: int, width: int, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return feature maps as the backbone makes them, of strides 4 to 32."""
    sizes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in (4, 8, 16, 32)]
    channels = (8, 16, 32, 64)
    return tuple(
        torch.randn(batch, channel, *size, generator=generator)
        for channel, size in zip(channels, sizes, strict=True)
    )


def draw(limit: int, generator: torch.Generator) -> int:
    """Draw a number from 0 to a limit, small ones as often as large ones."""
    return round((limit + 1) ** torch.rand((), generator=generator).item()) - 1


@pytest.mark.parametrize('poisoned', [False, True], ids=['finite', 'with NaN'])
def test_any_batch_makes_a_step(poisoned, monkeypatch):
    head = build(**SMALL).panoptic_head.train()
    warnings: list[int] = []
    monkeypatch.setattr(
        'mask_dino.models.matcher.print_log', lambda *args, level, **options: warnings.append(level)
    )
    generator = torch.Generator().manual_seed(int(poisoned))
    names: set[tuple[str, ...]] = set()
    for index in range(BATCHES // 2):
        height, width = (max(1, draw(MAX_SIZE, generator)) for _ in range(2))
        counts = [draw(MAX_OBJECTS, generator) for _ in range(1 + draw(1, generator))]
        maps = features(height, width, len(counts), generator)
        if poisoned:
            level = maps[draw(3, generator)]
            place = torch.randint(level.numel(), (), generator=generator)
            level.view(-1)[place] = (math.nan, math.inf, -math.inf)[draw(2, generator)]
        targets = [random_targets(count, generator, (height, width)) for count in counts]
        losses = head.loss(maps, targets)
        names.add(tuple(sorted(losses)))
        total = sum(losses.values())
        assert total.ndim == 0
        assert poisoned or total.isfinite(), (height, width, counts)
        if index % 15 == 0:
            total.backward()
            gradients = [parameter.grad for parameter in head.parameters()]
            assert poisoned or all(
                gradient.isfinite().all() for gradient in gradients if gradient is not None
            )
            head.zero_grad()
    assert len(names) == 1
    assert all(level == logging.WARNING for level in warnings)
    assert len(warnings) <= 1 + BATCHES // 2 // 50 and bool(warnings) is poisoned
