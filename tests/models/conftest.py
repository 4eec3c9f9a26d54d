import pytest
import torch
from tiny import SIZE


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(2, 3, *SIZE, generator=generator)
