"""Small models whose results are not trivial, and what an exported file would say and compute for them."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from torch import nn

from mask_dino.checkpoints.io import build_model, make_checkpoint
from mask_dino.export.exporter import Options, build_network, make_info
from mask_dino.export.model import TrainedModel, find_head, load_model

CONFIGS = Path('configs/maskdino')
INSTANCE = 'maskdino_tiny_shapes.py'
PANOPTIC = 'maskdino_tiny_shapes-panoptic.py'
SEMANTIC = 'maskdino_tiny_shapes-semantic.py'


class EagerNetwork:
    """What an exported file computes, by the model itself."""

    def __init__(self, trained: TrainedModel, **options: object) -> None:
        self.network = build_network(trained, Options(**options))
        self.info = make_info(self.network, trained)
        self.sizes: list[tuple[int, ...]] = []

    @torch.no_grad()
    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(images.shape)
        values = self.network(torch.from_numpy(images))
        return {
            output.name: value.numpy()
            for output, value in zip(self.info.outputs, values, strict=True)
        }


def read_config(name: str, **options: object) -> Config:
    """Return a published config with settings of the test pipeline and the test changed."""
    config = Config.fromfile(CONFIGS / name)
    config.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return config


def decided_model(config: Config) -> nn.Module:
    """Return a model with random weights that tells classes and masks apart."""
    torch.manual_seed(1)
    model = build_model(config)
    head = find_head(model, config).prediction
    nn.init.normal_(head.class_embed.weight, std=0.6)
    nn.init.constant_(head.class_embed.bias, -1.5)
    nn.init.normal_(head.mask_embed.layers[-1].weight, std=1.5)
    nn.init.normal_(head.box_embed.layers[-1].weight, std=0.3)
    return model.eval()


def save_weights(config: Config, path: Path) -> Path:
    """Write a checkpoint of a decided model."""
    torch.save(make_checkpoint(config, decided_model(config).state_dict(), Path('random')), path)
    return path


def load(config: Config, folder: Path) -> TrainedModel:
    """Return a decided model as the exporter loads it."""
    return load_model(config, save_weights(config, folder / 'weights.pth'))


def write_image(path: Path, height: int, width: int, **settings: object) -> Path:
    """Write blobs of colours."""
    generator = np.random.default_rng(height * width)
    coarse = generator.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image.save(path, **settings)
    return path
