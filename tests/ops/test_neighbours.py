"""Maps are surrounded by zeros, and found again."""

import pytest
import torch
import torch.nn.functional as F

from mask_dino.ops.neighbours import BORDER, add_borders, count_pixels, remove_borders


@pytest.fixture
def full_memory():
    """torch fills new tensors with NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('sizes', [[(1, 1)], [(4, 3), (2, 2), (1, 5)]])
def test_borders_are_zero_whatever_the_memory_held(sizes, full_memory):
    values = torch.rand(2, sum(count_pixels(sizes)), 3, 4)
    bordered = add_borders(values, sizes)
    expected = [
        F.pad(tokens.unflatten(1, size), (0, 0, 0, 0, *[BORDER] * 4)).flatten(1, 2)
        for tokens, size in zip(values.split(count_pixels(sizes), 1), sizes, strict=True)
    ]
    torch.testing.assert_close(bordered, torch.cat(expected, 1), rtol=0, atol=0)
    torch.testing.assert_close(remove_borders(bordered, sizes), values, rtol=0, atol=0)
