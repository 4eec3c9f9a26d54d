"""A model of two weights, its data and its metric: the least that mmengine's Runner trains and tests."""

import atexit
from typing import ClassVar

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch.utils.data import Dataset


@atexit.register
def tell_of_process_group():
    if torch.distributed.is_initialized():
        print('the process group was left behind')


@DATASETS.register_module()
class Points(Dataset):
    metainfo: ClassVar = {'classes': ('a', 'b'), 'palette': [(1, 2, 3), (4, 5, 6)]}

    def __len__(self):
        return 8

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


@METRICS.register_module()
class Height(BaseMetric):
    default_prefix = 'line'

    def process(self, data_batch, data_samples):
        self.results += [sample.item() for sample in data_samples]

    def compute_metrics(self, results):
        return {'height': torch.tensor(results).double().mean().numpy()[()]}
