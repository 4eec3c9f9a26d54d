"""What every test starts from: the registered model, mmdet's scope, fixed seeds and few threads."""

import random

import numpy as np
import pytest
import torch
from helpers.tiny import SIZE
from mmengine.registry import init_default_scope

import mask_dino.det  # noqa: F401  registers the model

# Small tensors gain nothing from many threads, and lose much where the machine is busy.
torch.set_num_threads(min(2, torch.get_num_threads()))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs slow tests."""
    parser.addoption('--runslow', action='store_true', help='also run the tests that take minutes')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests unless they are asked for."""
    for item in items:
        if 'slow' in item.keywords and not config.getoption('runslow'):
            item.add_marker(pytest.mark.skip(reason='takes minutes; --runslow runs it'))


@pytest.fixture(scope='module', autouse=True)
def scope():
    init_default_scope('mmdet')


@pytest.fixture(autouse=True)
def seeds():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """Return a generator of random numbers, the same for every test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    """Return a batch of two random images for the small model."""
    return torch.randn(2, 3, *SIZE, generator=generator)
