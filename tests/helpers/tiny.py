"""A Mask DINO small enough to run many times in a test, and objects for it."""

import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

import mask_dino.det  # noqa: F401  registers the model
from mask_dino.structures import Targets

NUM_CLASSES = 5
SIZE = (64, 96)


def tiny_config(**head: object) -> ConfigDict:
    """Return the model of the published config, shrunk; ``head`` overrides parts of its head."""
    model = Config.fromfile('configs/_base_/models/maskdino_r50.py').model
    model.backbone.update(depth=18, base_channels=8, init_cfg=None)
    parts = dict(
        num_things_classes=NUM_CLASSES,
        embed_dims=32,
        pixel_decoder=dict(in_channels=[8, 16, 32, 64], num_layers=1, feedforward_channels=32),
        queries=dict(num_queries=20),
        decoder=dict(num_layers=2, feedforward_channels=32),
        denoising=dict(num_queries=12),
        criterion=dict(matcher=dict(num_points=128), point_sampler=dict(num_points=128)),
    )
    model.panoptic_fusion_head.num_things_classes = NUM_CLASSES
    config = Config(dict(model=model))
    for override in (parts, head):
        config.merge_from_dict(dict(model=dict(panoptic_head=override)))
    return config.model


def random_targets(count: int, generator: torch.Generator, size: tuple[int, int] = SIZE) -> Targets:
    """Return ``count`` rectangles of random class, place and size."""
    height, width = size
    center = torch.rand(count, 2, generator=generator) * 0.6 + 0.2
    extent = torch.rand(count, 2, generator=generator) * 0.2 + 0.15
    ys, xs = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    inside_x = (xs - center[:, :1]).abs() < extent[:, :1] / 2
    inside_y = (ys - center[:, 1:]).abs() < extent[:, 1:] / 2
    labels = torch.randint(NUM_CLASSES, (count,), generator=generator)
    return Targets(labels, torch.cat((center, extent), 1), inside_y[:, :, None] & inside_x[:, None])


def build(**head: object) -> torch.nn.Module:
    """Return the small detector, the same at every call."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    return MODELS.build(tiny_config(**head))
