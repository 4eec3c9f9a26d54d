"""Small models to inspect, and images and annotations for them."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from helpers.exported import decided_model, read_config
from mask_dino.checkpoints.io import build_model

SMALL = dict(
    model__backbone__base_channels=8,
    model__panoptic_head__pixel_decoder__in_channels=[8, 16, 32, 64],
    model__panoptic_head__queries__num_queries=30,
)
SMALL_SEMANTIC = dict(
    model__backbone__base_channels=8,
    model__decode_head__pixel_decoder__in_channels=[8, 16, 32, 64],
)
MASK2FORMER = Path('projects/mask_dino/trials/mask2former_shapes-panoptic.py')


def small_model(name: str) -> nn.Module:
    """Return a small Mask DINO of a published config on Shapes, with random weights."""
    settings = SMALL_SEMANTIC if 'semantic' in name else SMALL
    config = read_config(name, **settings)
    model = decided_model(config)
    model.cfg = config
    return model


def small_mask2former() -> nn.Module:
    """Return a small Mask2Former of MMDetection with random weights."""
    config = Config.fromfile(MASK2FORMER)
    config.model.panoptic_head.num_queries = 30
    torch.manual_seed(0)
    model = build_model(config).eval()
    nn.init.normal_(model.panoptic_head.cls_embed.weight)
    model.cfg = config
    return model


def make_image(height: int = 50, width: int = 80) -> np.ndarray:
    """Return blobs of colours."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (height // 10 + 1, width // 10 + 1, 3), np.uint8)
    return coarse.repeat(10, 0).repeat(10, 1)[:height, :width].copy()
