"""Checkpoints as the original would write them, small enough to make in every test."""

import gzip
import json
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from helpers.tiny import tiny_config
from mask_dino.checkpoints.maskdino_names import list_copies, list_names, rename_tensors

DATA = Path(__file__).parents[1] / 'data' / 'golden'
CLASSES = ('cup', 'fork', 'knife', 'plate', 'spoon')


def config(**head: object) -> Config:
    """Return a config of a small model with a backbone like that of the published R50 models."""
    model = tiny_config(**dict(pixel_decoder=dict(in_channels=[32, 64, 128, 256])) | head)
    model.backbone.depth = 50
    dataset = dict(
        type='CocoDataset', ann_file='none.json', metainfo=dict(classes=CLASSES), pipeline=PIPELINE
    )
    settings = dict(default_scope='mmdet', model=model, test_dataloader=dict(dataset=dataset))
    return Config(settings | dict(visualizer=dict(type='DetLocalVisualizer')))


PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 64), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('ori_shape', 'img_shape', 'scale_factor')),
]


def names(case: str = 'r50_instance') -> list[str]:
    """Return the names in a published checkpoint."""
    return [entry['key'] for entry in manifest(case)]


def manifest(case: str) -> list[dict]:
    """Return names and shapes in a published checkpoint."""
    with gzip.open(DATA / case / 'manifest.json.gz') as file:
        return json.load(file)


def state_for(model: nn.Module) -> dict[str, Tensor]:
    """Return random weights for a model, finest level first, under those names of a published checkpoint that fit."""
    target, values, state = model.state_dict(), {}, {}
    known = [*list_names('panoptic_head'), *list_copies('panoptic_head')]
    for name in names():
        renamed = rename_tensors({name: torch.zeros(1)}, known).state
        if not renamed:
            state[name] = torch.ones(len(CLASSES) + 1)
        elif (ours := next(iter(renamed))) in target:
            mean = float(name.endswith('running_var'))
            state[name] = values.setdefault(ours, mean + 0.02 * torch.randn(target[ours].shape))
    return state


def published_shapes(case: str) -> dict[str, Tensor]:
    """Return tensors of the shapes of a published checkpoint, which take no memory."""
    return {entry['key']: torch.zeros(()).expand(entry['shape']) for entry in manifest(case)}
