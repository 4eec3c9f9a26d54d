"""What every test starts from: the registered model, mmdet's scope, fixed seeds and few threads."""

import os
import random

import numpy as np
import pytest
import torch
from helpers.browser import browser  # noqa: F401  a fixture
from helpers.tiny import SIZE
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer

import mask_dino.det  # noqa: F401  registers the model

# Small tensors gain nothing from many threads. Programs that tests start inherit the number.
os.environ['OMP_NUM_THREADS'] = '1'
torch.set_num_threads(1)


LONG_FILES = {
    'cli',
    'tools',
    'test_docs.py',
    'test_golden_training.py',
    'test_panoptic_run.py',
    'test_seg_run.py',
}
"""Test files, and folders of them, that train models or start programs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs slow tests."""
    parser.addoption('--runslow', action='store_true', help='also run the tests that take minutes')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests unless they are asked for, and start with the files that take longest.

    One process runs all tests of a file. A long file at the end would leave the other processes without work.
    """
    items.sort(key=lambda item: not LONG_FILES & {*item.path.parts, item.path.name})
    for item in items:
        if 'slow' in item.keywords and not config.getoption('runslow'):
            item.add_marker(pytest.mark.skip(reason='takes minutes; --runslow runs it'))


@pytest.fixture(scope='module', autouse=True)
def scope():
    """Start each file in MMDetection's scope, without visualizers that another file has made."""
    Visualizer._instance_dict.clear()
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
