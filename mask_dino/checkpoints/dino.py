"""Detectors of the DINO family, turned into a Mask DINO that detects as they do and whose masks are to be learned."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .dino_names import MMDET, ORIGINAL, Naming, extra_levels
from .level_order import reorder_pixels
from .loading import CheckpointError
from .maskdino import DERIVED, head_name
from .rename import Pair, pattern, rename

MASK_BRANCH = ('.mask_embed.', '.lateral_conv.', '.output_conv.', '.mask_conv.')
TEMPERATURE = 20  # of DINO's positional encoding


class FromDetector(NamedTuple):
    """Weights of a model, complete, and where they come from."""

    state: dict[str, Tensor]
    coverage: dict[str, tuple[int, int]]  # tensors with weights of the detector, and tensors in all, by module
    dropped: list[str]  # tensors of the detector without a place in the model
    differences: list[str]  # settings of the model without which it does not detect as the detector does


def convert_detector(state: Mapping[str, Tensor], model: nn.Module) -> FromDetector:
    """Fill a model with the weights of a DINO, of mmdet or of the original implementation.

    - DINO has branches for every decoder layer, the model has one set: it takes those of the last layer; with
      ``queries.separate_branches`` also those of the encoder, and with ``decoder.separate_box_branches`` the box
      branches of all layers.
    - Without ``decoder.normalise_content_once``, the model normalises once more before it classifies: the class
      branch makes up for it on average.
    - Decoder layers beyond those of the detector begin as its last one.
    - The mask branch keeps its initial values.

    Raises:
        CheckpointError: Names are unknown or missing, or shapes differ. The message lists them.
    """
    target = model.state_dict()
    head = head_name(target)
    part: Any = model.get_submodule(head)
    naming = find_naming(state)
    num_layers = count_layers(state, naming)
    pairs = [*naming.backbone, *(Pair(a, f'{head}.{b}') for a, b in head_pairs(state, naming, num_layers, part))]
    renamed = rename(prepared(state), [pair for pair in pairs if has_place(pair, target)])
    spare = [pattern(name) for name in (*naming.dropped, *(pair.source for pair in pairs))]
    dropped = [name for name in renamed.unknown if any(p.fullmatch(name) for p in spare)]
    taken = completed(renamed.state, target, head, num_layers)
    unknown = [name for name in renamed.unknown if name not in dropped]
    unknown += [renamed.origin[name] for name in renamed.state if name not in target]
    if problems := compare(unknown, taken, target):
        raise CheckpointError('the detector does not fit the model:\n' + '\n'.join(problems))
    if not part.decoder.normalise_content_once:
        normalise_once(taken, f'{head}.prediction')
    return FromDetector({**target, **taken}, cover(taken, target), dropped, differences(part))


def find_naming(state: Mapping[str, Tensor]) -> Naming:
    """Return the names of the implementation that a checkpoint comes from."""
    for naming in (MMDET, ORIGINAL):
        if naming.mark in state:
            return naming
    raise CheckpointError(
        f'this is no DINO of MMDetection or of the original: it has neither {MMDET.mark} nor {ORIGINAL.mark}'
    )


def count_layers(state: Mapping[str, Tensor], naming: Naming) -> int:
    """Return the number of decoder layers of a detector."""
    layer = pattern(naming.decoder_layer)
    return sum(layer.fullmatch(name) is not None for name in state)


def head_pairs(state: Mapping[str, Tensor], naming: Naming, num_layers: int, head: Any) -> list[Pair]:
    """Return the pairs of everything behind the backbone."""
    num_maps = len(head.pixel_decoder.in_channels) - head.pixel_decoder.first_level
    return [*naming.pairs(num_layers), *extra_levels(state, num_maps)]


def has_place(pair: Pair, target: Mapping[str, Tensor]) -> bool:
    """Tell whether a model has a tensor that a pair may lead to."""
    found = pattern(pair.target)
    return any(found.fullmatch(name) for name in target)


def prepared(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the pixels that the original's Swin merges to mmdet's order; leave derived buffers out."""
    merging = pattern('backbone.0.layers.#.downsample.*')
    kept = {name: value for name, value in state.items() if not name.endswith(DERIVED)}
    return {name: reorder_pixels(value) if merging.fullmatch(name) else value for name, value in kept.items()}


def compare(unknown: list[str], taken: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> list[str]:
    """Return what keeps a detector from becoming the model: of each kind of problem, all names."""
    derived = (*MASK_BRANCH, *DERIVED)
    missing = [name for name in target if name not in taken and not any(part in name for part in derived)]
    shapes = [
        f'{name} {tuple(value.shape)}, in the model {tuple(target[name].shape)}'
        for name, value in taken.items()
        if name in target and value.shape != target[name].shape
    ]
    kinds = [('unknown', unknown), ('missing', missing), ('of another shape', shapes)]
    return ['\n  '.join([f'{len(names)} {kind}:', *sorted(names)]) for kind, names in kinds if names]


def cover(taken: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
    """Count, by module, the tensors of a model that have the detector's weights, and all of them."""
    names = [name for name in target if not name.endswith(DERIVED)]
    total = Counter(_module(name) for name in names)
    known = Counter(_module(name) for name in names if name in taken)
    return {module: (known[module], count) for module, count in total.items()}


def differences(head: Any) -> list[str]:
    """Return the settings in which a model differs from DINO."""
    queries = head.queries
    anchors = tuple(0.05 * 2**level for level in range(len(head.pixel_decoder.input_convs)))
    wanted = {
        f'pixel_decoder.temperature={TEMPERATURE}': head.pixel_decoder.position.temperature == TEMPERATURE,
        f'queries.anchor_sizes={list(anchors)}': queries.anchor_sizes == anchors,
        'queries.learned_content=True': queries.learned_content,
        'queries.separate_branches=True': queries.separate_branches,
        'queries.boxes_from_masks=False': not queries.boxes_from_masks,
        'decoder.separate_box_branches=True': head.decoder.separate_box_branches,
        'decoder.normalise_content_once=True': head.decoder.normalise_content_once,
    }
    return [setting for setting, holds in wanted.items() if not holds]


def _module(name: str) -> str:
    return '.'.join(name.split('.')[: 1 if name.startswith('backbone.') else 2])


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
