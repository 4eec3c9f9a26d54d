"""A model of two weights, its data and its metric: the least that mmengine's Runner trains and tests."""

import atexit
import itertools
import random
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch.utils.data import Dataset


@atexit.register
def tell_of_process_group():
    names = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]
    if torch.distributed.is_initialized() or any('gloo' in name for name in names):
        print('the process group was left behind')


@DATASETS.register_module()
class Points(Dataset):
    metainfo: ClassVar = {'classes': ('a', 'b'), 'palette': [(1, 2, 3), (4, 5, 6)]}

    def __init__(self, count=8):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {'points': torch.tensor([index / 8, 1.0])}


@MODELS.register_module()
class Line(BaseModel):
    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.linear = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(self.linear.weight, 0.5)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, points, mode='tensor'):
        height = self.linear(torch.stack(points))
        return {'loss': (height - 3).square().mean()} if mode == 'loss' else list(height)


@DATASETS.register_module()
class NoisyPoints(Points):
    """Points moved by all generators of random numbers, as augmentations do."""

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + torch.rand(()).item()
        return {'points': torch.tensor([index / 8, noise])}


@MODELS.register_module()
class NoisyLine(Line):
    """Draws random numbers in the training step, as point sampling and denoising do."""

    def forward(self, points, mode='tensor'):
        if mode == 'loss':
            points = [
                point + random.random() + np.random.rand() + torch.rand(2) for point in points
            ]
        return super().forward(points, mode)


@METRICS.register_module()
class Height(BaseMetric):
    default_prefix = 'line'

    def process(self, data_batch, data_samples):
        self.results += [sample.item() for sample in data_samples]

    def compute_metrics(self, results):
        return {'height': torch.tensor(results).double().mean().numpy()[()]}


CONFIG = Path(__file__).parents[1] / 'tools/configs/line.py'
numbers = itertools.count()


def line_config(
    work_dir: Path, max_iters: int, checkpoint: dict | None = None, **options: object
) -> Config:
    """Return the config of a training that validates and saves after every iteration, to be run in this process."""
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(
        dict(work_dir=str(work_dir), experiment_name=f'line{next(numbers)}', **options)
    )
    config.train_cfg.update(max_iters=max_iters, val_interval=1)
    config.default_hooks.checkpoint = checkpoint or dict(
        type='CheckpointHook', by_epoch=False, interval=1
    )
    return config
