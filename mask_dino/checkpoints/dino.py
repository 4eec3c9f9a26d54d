"""Starts a Mask DINO from a detector of the DINO family: it detects as the detector does, and learns only its masks."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .dino_names import MMDET, ORIGINAL, Naming, list_extra_levels
from .level_order import reorder_pixels
from .loading import CheckpointError
from .maskdino import DERIVED, check_fit, find_head_name
from .maskdino_names import Pair, Renamed, compile_pattern, rename_tensors

MASK_BRANCH = ('.mask_embed.', '.lateral_conv.', '.output_conv.', '.mask_conv.')
POSITION_TEMPERATURE = 20  # of DINO's positional encoding
COCO_NUMBERS = [
    number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
]
"""The numbers that COCO gives to its 80 classes. The original DINO has a logit for every number up to 90."""


class FromDetector(NamedTuple):
    """Weights of a model, complete, and where they come from."""

    state: dict[str, Tensor]
    # By module: the number of tensors with weights of the detector, and of all tensors.
    coverage: dict[str, tuple[int, int]]
    # Tensors of the detector without a place in the model.
    dropped: list[str]
    # Settings of the model without which it does not detect as the detector does.
    differences: list[str]


def from_dino(state: Mapping[str, Tensor], model: nn.Module) -> FromDetector:
    """Fill a model with the weights of a DINO, of mmdet or of the original implementation.

    - DINO has branches for every decoder layer, and the model has one set, which takes the branches of the last layer.
      With ``queries.separate_branches`` it also takes the branches of the encoder, and with
      ``decoder.separate_box_branches`` the box branches of all layers.
    - Without ``decoder.normalise_content_once``, the model normalises once more before it classifies. The weights of
      the class branch are scaled, so that this cancels out on average.
    - Additional decoder layers begin as copies of the last layer of the detector.
    - The mask branch keeps its initial values.

    Raises:
        CheckpointError: Names are unknown or missing, or shapes differ. The message lists them.
    """
    target = model.state_dict()
    head = find_head_name(target)
    modules: Any = model.get_submodule(head)
    naming = find_naming(state)
    num_layers = count_layers(state, naming)
    pairs = list_pairs(state, naming, num_layers, head, modules)
    renamed = rename_tensors(
        prepare_tensors(state), [pair for pair in pairs if has_place(pair, target)]
    )
    dropped, unknown = split_unknown(renamed, naming, pairs)
    weights = complete_weights(cut_rows(renamed.state, target), target, num_layers)
    check_fit(weights, target, unknown, renamed.origin, MASK_BRANCH)
    if not modules.decoder.normalise_content_once:
        weights |= merge_second_norm(weights, f'{head}.prediction')
    return FromDetector(
        {**target, **weights}, count_coverage(weights, target), dropped, list_differences(modules)
    )


def find_naming(state: Mapping[str, Tensor]) -> Naming:
    """Return the names of the implementation that a checkpoint comes from.

    Raises:
        CheckpointError: It comes from neither of the two.
    """
    for naming in (MMDET, ORIGINAL):
        if naming.mark in state:
            return naming
    raise CheckpointError(
        f'this is no DINO of MMDetection or of the original: it has neither {MMDET.mark} nor {ORIGINAL.mark}'
    )


def count_layers(state: Mapping[str, Tensor], naming: Naming) -> int:
    """Return the number of decoder layers of a detector."""
    layer = compile_pattern(naming.decoder_layer)
    return sum(layer.fullmatch(name) is not None for name in state)


def list_pairs(
    state: Mapping[str, Tensor], naming: Naming, num_layers: int, head: str, modules: Any
) -> list[Pair]:
    """Return the names of a detector and the names of the model.

    Args:
        head: Name of the model's head.
        modules: The head itself.
    """
    pixel_decoder = modules.pixel_decoder
    num_maps = len(pixel_decoder.in_channels) - pixel_decoder.first_level
    inner = naming.list_names(num_layers)
    inner += list_extra_levels(state, num_maps)
    outer = [Pair(source, f'{head}.{target}') for source, target in inner]
    return [*naming.backbone, *outer]


def has_place(pair: Pair, target: Mapping[str, Tensor]) -> bool:
    """Return whether a model has a tensor that a pair may lead to."""
    pattern = compile_pattern(pair.target)
    return any(pattern.fullmatch(name) for name in target)


def prepare_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reorder the pixels that the original's Swin merges as mmdet does, and leave derived buffers out."""
    merging = compile_pattern('backbone.0.layers.#.downsample.*')
    prepared: dict[str, Tensor] = {}
    for name, value in state.items():
        if merging.fullmatch(name):
            prepared[name] = reorder_pixels(value)
        elif not name.endswith(DERIVED):
            prepared[name] = value
    return prepared


def split_unknown(
    renamed: Renamed, naming: Naming, pairs: list[Pair]
) -> tuple[list[str], list[str]]:
    """Split the names without a place into those that a detector of this naming may have, and all others."""
    sources = [pair.source for pair in pairs]
    patterns = [compile_pattern(name) for name in (*naming.dropped, *sources)]
    dropped: list[str] = []
    unknown: list[str] = []
    for name in renamed.unknown:
        is_known = any(pattern.fullmatch(name) for pattern in patterns)
        (dropped if is_known else unknown).append(name)
    return dropped, unknown


def cut_rows(weights: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep the rows that the model has: the first queries, labels without the spare one, COCO's classes.

    These tensors are (queries, channels) or (classes, ...). Other tensors stay as they are.
    """
    rows: dict[str, Tensor] = {}
    for name, value in weights.items():
        selected = _select_rows(name, value, target[name]) if name in target else None
        rows[name] = value if selected is None else value[selected]
    return rows


def _select_rows(name: str, value: Tensor, expected: Tensor) -> list[int] | slice | None:
    """Return which rows of a tensor the model has; None for all of them."""
    if value.ndim == 0 or value.shape[1:] != expected.shape[1:] or len(value) <= len(expected):
        return None
    is_label = '.label_embed.' in name
    num_classes = len(value) - is_label  # the original has one label more than classes
    if '.queries.content.' in name or (is_label and num_classes == len(expected)):
        return slice(len(expected))
    is_class = is_label or '.class_embed.' in name
    if is_class and num_classes == 91 and len(expected) == len(COCO_NUMBERS):
        return COCO_NUMBERS
    return None


def complete_weights(
    weights: Mapping[str, Tensor], target: Mapping[str, Tensor], num_layers: int
) -> dict[str, Tensor]:
    """Add the tensors that the detector lacks: copies of others, and biases before a norm, which mmdet does not have.

    Args:
        num_layers: Decoder layers of the detector.
    """
    # A tensor of the model, and the tensor that it copies. The first row that the detector has counts.
    sources = [
        (r'(.*)\.encoder_prediction\.norm\.(.*)', r'\g<1>.queries.proj.1.\g<2>'),
        (r'(.*\.decoder\.layers)\.\d+\.(.*)', rf'\g<1>.{num_layers - 1}.\g<2>'),
        (r'(.*)\.decoder\.box_embeds\.\d+\.(.*)', r'\g<1>.prediction.box_embed.\g<2>'),
    ]
    completed = dict(weights)
    for name in [name for name in target if name not in weights]:
        copied = [
            re.sub(pattern, source, name)
            for pattern, source in sources
            if re.fullmatch(pattern, name)
        ]
        known = [source for source in copied if source in weights]
        if known:
            completed[name] = weights[known[0]]
        elif re.fullmatch(r'.*\.input_convs\.\d+\.conv\.bias', name):
            completed[name] = torch.zeros_like(target[name])
    return completed


def merge_second_norm(weights: Mapping[str, Tensor], prediction: str) -> dict[str, Tensor]:
    """Return a class branch that undoes, on average, the second of two equal normalisations.

    A normalised query ``x = scale * z + shift`` becomes ``y = scale * (x - mean) / deviation + shift``. Mean and
    deviation over the channels vary little between queries; they are taken for a ``z`` of unit variance.

    Args:
        prediction: What the names of the norm, (channels,), and of the branch, (classes, channels), start with.
    """
    scale, shift = (weights[f'{prediction}.norm.{name}'] for name in ('weight', 'bias'))
    weight, bias = (weights[f'{prediction}.class_embed.{name}'] for name in ('weight', 'bias'))
    mean = shift.mean()
    power = scale.square().mean()
    deviation = (power + shift.var(unbiased=False)).sqrt()
    # The scale of these channels is nearly zero: they are the same for every query.
    is_constant = scale.abs() <= 0.01 * power.sqrt()
    factor = torch.where(is_constant, 0, deviation / scale)
    constant = torch.where(is_constant, shift, mean - factor * shift)
    return {
        f'{prediction}.class_embed.weight': weight * factor,
        f'{prediction}.class_embed.bias': bias + weight @ constant,
    }


def count_coverage(
    weights: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> dict[str, tuple[int, int]]:
    """Count, for each module, the tensors that have weights of the detector, and all tensors."""
    total: Counter[str] = Counter()
    known: Counter[str] = Counter()
    names = [name for name in target if not name.endswith(DERIVED)]
    for name in names:
        module = _module(name)
        total[module] += 1
        known[module] += name in weights
    return {module: (known[module], count) for module, count in total.items()}


def list_differences(head: Any) -> list[str]:
    """Return the settings in which a model differs from DINO."""
    queries, decoder = head.queries, head.decoder
    anchors = tuple(0.05 * 2**level for level in range(len(head.pixel_decoder.input_convs)))
    temperature = head.pixel_decoder.position.temperature
    settings = {
        f'pixel_decoder.temperature={POSITION_TEMPERATURE}': temperature == POSITION_TEMPERATURE,
        f'queries.anchor_sizes={list(anchors)}': queries.anchor_sizes == anchors,
        'queries.learned_content=True': queries.learned_content,
        'queries.separate_branches=True': queries.separate_branches,
        'queries.boxes_from_masks=False': not queries.boxes_from_masks,
        'decoder.separate_box_branches=True': decoder.separate_box_branches,
        'decoder.normalise_content_once=True': decoder.normalise_content_once,
    }
    return [setting for setting, holds in settings.items() if not holds]


def _module(name: str) -> str:
    return '.'.join(name.split('.')[: 1 if name.startswith('backbone.') else 2])
