"""Names of tensors: how they are changed by pairs of patterns, and the names of the original Mask DINO."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from .loading import CheckpointError

WILDCARDS = {'#': r'(\d+)', '*': r'(.+)', '?': r'\d+'}


class Pair(NamedTuple):
    """Two names of tensors: ``#`` is a number and ``*`` is anything, the same and in the same order in both.

    ``?`` is any number, which the other name lacks.
    """

    source: str
    target: str

    def reverse(self) -> 'Pair':
        """Return the pair that leads back."""
        return Pair(self.target, self.source)


class Renamed(NamedTuple):
    """Tensors under their new names, and what became of the other names."""

    state: dict[str, Tensor]
    origin: dict[str, str]  # the old name of each new one; one of them where copies were merged
    dropped: list[str]  # on purpose
    unknown: list[str]  # to every pair


def rename_tensors(
    state: Mapping[str, Tensor], pairs: Iterable[Pair], dropped: Iterable[str] = ()
) -> Renamed:
    """Rename tensors by the first pair that fits; copies that get the same name become one tensor.

    Args:
        dropped: Patterns of names to leave out.

    Raises:
        CheckpointError: Tensors of different values would share a name.
    """
    patterns = [(compile_pattern(pair.source), pair.target) for pair in pairs]
    dropped_patterns = [compile_pattern(name) for name in dropped]
    renamed = Renamed({}, {}, [], [])
    for name, value in state.items():
        new_name = _rename_one(name, patterns)
        is_dropped = any(pattern.fullmatch(name) for pattern in dropped_patterns)
        if is_dropped:
            renamed.dropped.append(name)
        elif new_name is None:
            renamed.unknown.append(name)
        else:
            _add(renamed, new_name, name, value)
    return renamed


def compile_pattern(name: str) -> re.Pattern:
    """Return the regular expression of a name with wildcards."""
    parts = re.split(r'([#*?])', name)
    return re.compile(''.join(WILDCARDS.get(part, re.escape(part)) for part in parts))


def _rename_one(name: str, patterns: Iterable[tuple[re.Pattern, str]]) -> str | None:
    """Return the new name by the first pattern that matches; None if there is none."""
    for source, target in patterns:
        match = source.fullmatch(name)
        if match:
            values = iter(match.groups())
            return re.sub(r'[#*]', lambda _: next(values), target)  # noqa: B023  used at once
    return None


def _add(renamed: Renamed, target: str, name: str, value: Tensor) -> None:
    known = renamed.state.get(target)
    if known is not None and not known.equal(value):
        first = renamed.origin[target]
        raise CheckpointError(
            f'{first} and {name} should be copies of one tensor, {target}, but their values differ'
        )
    renamed.state[target] = value
    renamed.origin[target] = name


CONSTANTS = [
    'criterion.empty_weight',  # a constant of the losses
    'backbone.layers.*.relative_position_index',  # follows from the window size
]
"""Tensors of the original that its config determines; they have no place here."""


def _stage(stage: int) -> list[Pair]:
    source = f'backbone.res{stage + 1}.#'
    target = f'backbone.layer{stage}.#'
    return [
        Pair(f'{source}.conv#.norm.*', f'{target}.bn#.*'),
        Pair(f'{source}.conv#.weight', f'{target}.conv#.weight'),
        Pair(f'{source}.shortcut.norm.*', f'{target}.downsample.1.*'),
        Pair(f'{source}.shortcut.weight', f'{target}.downsample.0.weight'),
    ]


BACKBONE = [
    # detectron2's ResNet
    Pair('backbone.stem.conv1.norm.*', 'backbone.bn1.*'),
    Pair('backbone.stem.conv1.weight', 'backbone.conv1.weight'),
    *(pair for stage in range(1, 5) for pair in _stage(stage)),
    # Swin
    Pair('backbone.patch_embed.proj.*', 'backbone.patch_embed.projection.*'),
    Pair('backbone.patch_embed.norm.*', 'backbone.patch_embed.norm.*'),
    Pair('backbone.norm#.*', 'backbone.norm#.*'),
    Pair('backbone.layers.#.blocks.#.attn.*', 'backbone.stages.#.blocks.#.attn.w_msa.*'),
    Pair('backbone.layers.#.blocks.#.mlp.fc1.*', 'backbone.stages.#.blocks.#.ffn.layers.0.0.*'),
    Pair('backbone.layers.#.blocks.#.mlp.fc2.*', 'backbone.stages.#.blocks.#.ffn.layers.1.*'),
    Pair('backbone.layers.#.blocks.#.norm#.*', 'backbone.stages.#.blocks.#.norm#.*'),
    Pair('backbone.layers.#.downsample.*', 'backbone.stages.#.downsample.*'),
]

PIXEL_DECODER = 'sem_seg_head.pixel_decoder'
PREDICTOR = 'sem_seg_head.predictor'


def name_encoder_layers(source: str) -> list[Pair]:
    """Return the names of the encoder's layers in the original Mask DINO and the original DINO.

    Args:
        source: What the names start with there; ``#`` is the layer.
    """
    target = 'pixel_decoder.layers.#'
    return [
        Pair(f'{source}.self_attn.*', f'{target}.self_attn.*'),
        Pair(f'{source}.norm1.*', f'{target}.norms.0.*'),
        Pair(f'{source}.norm2.*', f'{target}.norms.1.*'),
        Pair(f'{source}.linear1.*', f'{target}.ffn.layers.0.0.*'),
        Pair(f'{source}.linear2.*', f'{target}.ffn.layers.1.*'),
    ]


def name_decoder_layers(source: str) -> list[Pair]:
    """Return the names of the decoder's layers in the original Mask DINO and the original DINO.

    There, norms are numbered by the kind of sub-layer. Here they are numbered by order, as in mmdet: self-attention,
    cross-attention, FFN.

    Args:
        source: What the names start with there; ``#`` is the layer.
    """
    target = 'decoder.layers.#'
    return [
        Pair(f'{source}.cross_attn.*', f'{target}.cross_attn.*'),
        Pair(f'{source}.self_attn.*', f'{target}.self_attn.attn.*'),
        Pair(f'{source}.norm2.*', f'{target}.norms.0.*'),
        Pair(f'{source}.norm1.*', f'{target}.norms.1.*'),
        Pair(f'{source}.norm3.*', f'{target}.norms.2.*'),
        Pair(f'{source}.linear1.*', f'{target}.ffn.layers.0.0.*'),
        Pair(f'{source}.linear2.*', f'{target}.ffn.layers.1.*'),
    ]


HEAD = [
    Pair(f'{PIXEL_DECODER}.input_proj.#.0.*', 'pixel_decoder.input_convs.#.conv.*'),
    Pair(f'{PIXEL_DECODER}.input_proj.#.1.*', 'pixel_decoder.input_convs.#.gn.*'),
    Pair(f'{PIXEL_DECODER}.transformer.level_embed', 'pixel_decoder.level_embed'),
    *name_encoder_layers(f'{PIXEL_DECODER}.transformer.encoder.layers.#'),
    Pair(f'{PIXEL_DECODER}.adapter_1.weight', 'pixel_decoder.lateral_conv.conv.weight'),
    Pair(f'{PIXEL_DECODER}.adapter_1.norm.*', 'pixel_decoder.lateral_conv.gn.*'),
    Pair(f'{PIXEL_DECODER}.layer_1.weight', 'pixel_decoder.output_conv.conv.weight'),
    Pair(f'{PIXEL_DECODER}.layer_1.norm.*', 'pixel_decoder.output_conv.gn.*'),
    Pair(f'{PIXEL_DECODER}.mask_features.*', 'pixel_decoder.mask_conv.*'),
    Pair(f'{PREDICTOR}.enc_output.*', 'queries.proj.0.*'),
    Pair(f'{PREDICTOR}.enc_output_norm.*', 'queries.proj.1.*'),
    Pair(f'{PREDICTOR}.query_feat.weight', 'queries.content.weight'),
    Pair(f'{PREDICTOR}.query_embed.weight', 'queries.reference.weight'),
    Pair(f'{PREDICTOR}.label_enc.weight', 'denoising.label_embed.weight'),
    Pair(f'{PREDICTOR}.class_embed.*', 'prediction.class_embed.*'),
    Pair(f'{PREDICTOR}.mask_embed.layers.*', 'prediction.mask_embed.layers.*'),
    Pair(f'{PREDICTOR}._bbox_embed.layers.*', 'prediction.box_embed.layers.*'),
    Pair(f'{PREDICTOR}.decoder_norm.*', 'prediction.norm.*'),
    Pair(f'{PREDICTOR}.decoder.ref_point_head.*', 'decoder.ref_point_head.*'),
    *name_decoder_layers(f'{PREDICTOR}.decoder.layers.#'),
]

COPIES = [
    # One box branch and one norm, which the original stores under several names.
    Pair(f'{PREDICTOR}._bbox_embed.layers.*', f'{PREDICTOR}.bbox_embed.?.layers.*'),
    Pair(f'{PREDICTOR}._bbox_embed.layers.*', f'{PREDICTOR}.decoder.bbox_embed.?.layers.*'),
    Pair(f'{PREDICTOR}.decoder_norm.*', f'{PREDICTOR}.decoder.norm.*'),
]
"""First and further names in the original of one tensor; ``?`` is the number of a decoder layer."""


def list_names(head: str) -> list[Pair]:
    """Return the names in the original and in a model whose head is ``panoptic_head`` or ``decode_head``."""
    return [*BACKBONE, *(Pair(source, f'{head}.{target}') for source, target in HEAD)]


def list_copies(head: str) -> list[Pair]:
    """Return the further names in the original and the names in a model."""
    names = {pair.source: pair.target for pair in list_names(head)}
    return [Pair(further, names[first]) for first, further in COPIES]


def list_further_names(num_layers: int) -> list[Pair]:
    """Return the first and the further names in the original, for a decoder of so many layers."""
    numbers = range(num_layers)
    return [
        Pair(first, further.replace('?', str(number)))
        for first, further in COPIES
        for number in numbers
    ]
