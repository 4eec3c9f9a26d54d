"""Where the weights of a detector need more than another name."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# The numbers that COCO gives to its 80 classes. The original DINO has a logit for every number up to 90.
COCO_NUMBERS = [number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def completed(
    taken: Mapping[str, Tensor], target: Mapping[str, Tensor], head: str, num_layers: int
) -> dict[str, Tensor]:
    """Return the tensors of the model that have, or follow from, the detector's weights."""
    found = {name: fitted(name, value, target[name]) if name in target else value for name, value in taken.items()}
    for name, value in target.items():
        layer, _, _ = name.removeprefix(f'{head}.decoder.layers.').partition('.')
        last = name.replace(f'.decoder.layers.{layer}.', f'.decoder.layers.{num_layers - 1}.', 1)
        token_norm = name.replace('.encoder_prediction.norm.', '.queries.proj.1.')
        shared = re.sub(r'\.decoder\.box_embeds\.\d+\.', '.prediction.box_embed.', name)
        if name in taken:
            continue
        if like := next((other for other in (token_norm, last, shared) if other in taken), None):
            found[name] = taken[like]
        elif '.input_convs.' in name and name.endswith('.conv.bias'):  # mmdet has none before a norm
            found[name] = torch.zeros_like(value)
    return found


def fitted(name: str, value: Tensor, like: Tensor) -> Tensor:
    """Keep the rows that the model has: the first queries, labels without the spare one, COCO's classes."""
    if value.ndim == 0 or value.shape[1:] != like.shape[1:] or len(value) <= len(like):
        return value
    is_label = '.label_embed.' in name  # of which the original has one more than classes
    if '.queries.content.' in name or (is_label and len(value) == len(like) + 1):
        return value[: len(like)]
    if (is_label or '.class_embed.' in name) and (len(value) - is_label, len(like)) == (91, len(COCO_NUMBERS)):
        return value[COCO_NUMBERS]
    return value


def normalise_once(state: dict[str, Tensor], prediction: str) -> None:
    """Let the class branch undo, on average, the second of two equal normalisations, in place.

    A normalised query ``x = scale * z + shift`` becomes ``y = scale * (x - mean) / deviation + shift``. Mean and
    deviation over the channels vary little between queries; they are taken for a ``z`` of unit variance.
    """
    scale, shift = state[f'{prediction}.norm.weight'], state[f'{prediction}.norm.bias']
    weight, bias = state[f'{prediction}.class_embed.weight'], state[f'{prediction}.class_embed.bias']
    mean, deviation = shift.mean(), (scale.square().mean() + shift.var(unbiased=False)).sqrt()
    passes = scale.abs() > 0.01 * scale.square().mean().sqrt()  # the other channels are constants
    factor = torch.where(passes, deviation / scale, 0)
    constant = torch.where(passes, mean - factor * shift, shift)
    state[f'{prediction}.class_embed.weight'] = weight * factor
    state[f'{prediction}.class_embed.bias'] = bias + weight @ constant
