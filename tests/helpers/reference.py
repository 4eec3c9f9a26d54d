"""Models with the weights of the reference cases, built from the published configs and filled by the converter."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmseg.structures import SegDataSample
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from helpers import golden
from mask_dino.checkpoints.io import build_model
from mask_dino.checkpoints.maskdino import from_original

HEADS = dict(mmdet='panoptic_head', mmseg='decode_head')
DATA = Path(__file__).parents[1] / 'data' / 'golden'
CONFIGS = Path(__file__).parents[2] / 'configs' / 'maskdino'

R50 = 'maskdino_r50_8xb2-lsj-50e_coco.py'
PANOPTIC = 'maskdino_r50_8xb2-lsj-50e_coco-panoptic.py'
SWIN = 'maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-50e_coco.py'
SEMANTIC = 'maskdino_r50_8xb2-160k_ade20k-512x512.py'
CASES = dict(
    r50_instance=R50,
    swinl_instance=SWIN,
    r50_panoptic=PANOPTIC,
    r50_ade20k=SEMANTIC,
    train_r50_instance=R50,
)


def original_state(name: str) -> dict[str, Tensor]:
    """Return the weights of a case in the naming of the original."""
    return {
        key: torch.from_numpy(value)
        for key, value in golden.official_state_dict(DATA / name).items()
    }


def build(name: str, **head: object) -> nn.Module:
    """Return the model of a case with its weights; ``head`` overrides parts of its head."""
    config = Config.fromfile(CONFIGS / CASES[name])
    config.merge_from_dict(dict(model={HEADS[config.default_scope]: head}))
    model = build_model(config)
    model.load_state_dict(from_original(original_state(name), model).state)
    return model.eval()


class Image(NamedTuple):
    """A seeded image, the size that results are asked for at included."""

    seed: int
    height: int
    width: int
    out_height: int
    out_width: int

    def bgr(self) -> Tensor:
        """Return the pixels (3, height, width) uint8 as they are loaded from a file."""
        return (
            torch.from_numpy(golden.image(self.seed, self.height, self.width))
            .permute(2, 0, 1)
            .flip(0)
        )

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return what a data sample says of the image."""
        return dict(
            img_shape=(self.height, self.width), ori_shape=(self.out_height, self.out_width)
        )


def preprocess(model: nn.Module, images: list[Image]) -> dict:
    """Return the arguments of the model's forward for a batch."""
    sample = SegDataSample if hasattr(model, 'decode_head') else DetDataSample
    samples = [sample(metainfo=image.sizes()) for image in images]
    batch = dict(inputs=[image.bgr() for image in images], data_samples=samples)
    return model.data_preprocessor(batch, False)


@torch.no_grad()
def compute(
    model: nn.Module, images: list[Image], reference: dict[str, np.ndarray]
) -> dict[str, Tensor]:
    """Return what the network computes on its way to the predictions, under the names of the reference arrays.

    Queries come in the order of the reference: equal scores may be selected in another one.
    """
    data = preprocess(model, images)
    feats = model.extract_feat(data['inputs'])
    head = getattr(model, 'panoptic_head', None) or model.decode_head
    mask_features, memory = head.pixel_decoder(feats)
    queries, encoder = head.queries(memory, head.prediction, mask_features)
    refined = head.decoder(queries, memory, head.prediction)
    layers = [head.prediction.predict_refined(queries) for queries in (queries, *refined)]
    last = model(**data, mode='tensor')

    arrays = dict(
        padded_shape=torch.tensor(data['inputs'].shape), mask_features=mask_features[:, ::8]
    )
    arrays |= {f'backbone_res{i + 2}_mean_abs': x.abs().mean((2, 3)) for i, x in enumerate(feats)}
    levels = dict(
        zip(memory.sizes, memory.tokens.split([h * w for h, w in memory.sizes], 1), strict=True)
    )
    for name in (name for name in reference if name.startswith('memory_')):
        size = reference[name].shape[-2:]  # the original counts its levels in either direction
        arrays[name] = levels[size].transpose(1, 2).unflatten(2, size)[:, ::8]
    order = slice(None)
    if encoder is not None:
        order = align(encoder.logits[0, :, ::5], torch.from_numpy(reference['interm_logits'][0]))
        masks = encoder.decode(mask_features).masks[:, order]
        arrays |= dict(
            interm_logits=encoder.logits[:, order, ::5], interm_boxes=encoder.boxes[:, order]
        )
        arrays |= dict(interm_masks_every30th=masks[:, ::30])
    for i, layer in enumerate(layers[:-1]):
        arrays |= {
            f'aux_{i}_logits': layer.logits[:, order, ::5],
            f'aux_{i}_boxes': layer.boxes[:, order],
        }
    arrays |= dict(pred_logits=last.logits[:, order], pred_boxes=last.boxes[:, order])
    return arrays | dict(pred_masks_every10th=last.masks[:, order][:, ::10])


def align(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return which of our rows (N, ...) belongs to each of theirs: the nearest, one to one."""
    ours = ours.cpu().flatten(1).double()
    distances = torch.cdist(theirs.flatten(1).double(), ours, p=1)
    return torch.from_numpy(linear_sum_assignment(distances)[1])
