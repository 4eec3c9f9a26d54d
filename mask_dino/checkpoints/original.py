"""Checkpoints of the original implementation (IDEA-Research/MaskDINO, and detrex) in this project's naming."""

from typing import NamedTuple

import torch
from torch import Tensor

from .renaming import Rule, rename

BACKBONE_RULES: list[Rule] = [
    # detectron2's ResNet
    (r'backbone\.stem\.conv1\.norm\.(\w+)', r'backbone.bn1.\1'),
    (r'backbone\.stem\.conv1\.weight', r'backbone.conv1.weight'),
    *[
        rule
        for stage in range(4)
        for rule in (
            (rf'backbone\.res{stage + 2}\.(\d+)\.conv(\d)\.norm\.(\w+)', rf'backbone.layer{stage + 1}.\1.bn\2.\3'),
            (rf'backbone\.res{stage + 2}\.(\d+)\.conv(\d)\.weight', rf'backbone.layer{stage + 1}.\1.conv\2.weight'),
            (rf'backbone\.res{stage + 2}\.(\d+)\.shortcut\.norm\.(\w+)', rf'backbone.layer{stage + 1}.\1.downsample.1.\2'),
            (rf'backbone\.res{stage + 2}\.(\d+)\.shortcut\.weight', rf'backbone.layer{stage + 1}.\1.downsample.0.weight'),
        )
    ],
    # Swin
    (r'.*\.relative_position_index', ''),  # derived from the window size
    (r'backbone\.patch_embed\.proj\.(\w+)', r'backbone.patch_embed.projection.\1'),
    (r'backbone\.(patch_embed\.norm|norm\d)\.(\w+)', r'backbone.\1.\2'),
    (r'backbone\.layers\.(\d+)\.blocks\.(\d+)\.attn\.(.+)', r'backbone.stages.\1.blocks.\2.attn.w_msa.\3'),
    (r'backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)', r'backbone.stages.\1.blocks.\2.ffn.layers.0.0.\3'),
    (r'backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)', r'backbone.stages.\1.blocks.\2.ffn.layers.1.\3'),
    (r'backbone\.layers\.(.+)', r'backbone.stages.\1'),
]

PIXEL_DECODER = r'sem_seg_head\.pixel_decoder\.'
PREDICTOR = r'sem_seg_head\.predictor\.'

HEAD_RULES: list[Rule] = [
    (r'criterion\.empty_weight', ''),  # a constant of the losses
    (rf'{PIXEL_DECODER}input_proj\.(\d+)\.0\.(\w+)', r'pixel_decoder.input_convs.\1.conv.\2'),
    (rf'{PIXEL_DECODER}input_proj\.(\d+)\.1\.(\w+)', r'pixel_decoder.input_convs.\1.gn.\2'),
    (rf'{PIXEL_DECODER}transformer\.level_embed', r'pixel_decoder.level_embed'),
    (
        rf'{PIXEL_DECODER}transformer\.encoder\.layers\.(\d+)\.self_attn\.(.+)',
        r'pixel_decoder.layers.\1.self_attn.\2',
    ),
    (rf'{PIXEL_DECODER}transformer\.encoder\.layers\.(\d+)\.norm1\.(\w+)', r'pixel_decoder.layers.\1.norms.0.\2'),
    (rf'{PIXEL_DECODER}transformer\.encoder\.layers\.(\d+)\.norm2\.(\w+)', r'pixel_decoder.layers.\1.norms.1.\2'),
    (
        rf'{PIXEL_DECODER}transformer\.encoder\.layers\.(\d+)\.linear1\.(\w+)',
        r'pixel_decoder.layers.\1.ffn.layers.0.0.\2',
    ),
    (
        rf'{PIXEL_DECODER}transformer\.encoder\.layers\.(\d+)\.linear2\.(\w+)',
        r'pixel_decoder.layers.\1.ffn.layers.1.\2',
    ),
    (rf'{PIXEL_DECODER}adapter_1\.weight', r'pixel_decoder.lateral_conv.conv.weight'),
    (rf'{PIXEL_DECODER}adapter_1\.norm\.(\w+)', r'pixel_decoder.lateral_conv.gn.\1'),
    (rf'{PIXEL_DECODER}layer_1\.weight', r'pixel_decoder.output_conv.conv.weight'),
    (rf'{PIXEL_DECODER}layer_1\.norm\.(\w+)', r'pixel_decoder.output_conv.gn.\1'),
    (rf'{PIXEL_DECODER}mask_features\.(\w+)', r'pixel_decoder.mask_conv.\1'),
    (rf'{PREDICTOR}enc_output\.(\w+)', r'queries.proj.0.\1'),
    (rf'{PREDICTOR}enc_output_norm\.(\w+)', r'queries.proj.1.\1'),
    (rf'{PREDICTOR}query_feat\.weight', r'queries.content.weight'),
    (rf'{PREDICTOR}query_embed\.weight', r'queries.reference.weight'),
    (rf'{PREDICTOR}label_enc\.weight', r'denoising.label_embed.weight'),
    (rf'{PREDICTOR}(class_embed)\.(\w+)', r'prediction.\1.\2'),
    (rf'{PREDICTOR}(mask_embed\.layers\..+)', r'prediction.\1'),
    # One box branch and one norm, which the original stores under several names.
    (rf'{PREDICTOR}(?:_bbox_embed|(?:decoder\.)?bbox_embed\.\d+)\.layers\.(.+)', r'prediction.box_embed.layers.\1'),
    (rf'{PREDICTOR}(?:decoder_norm|decoder\.norm)\.(\w+)', r'prediction.norm.\1'),
    (rf'{PREDICTOR}decoder\.ref_point_head\.(.+)', r'decoder.ref_point_head.\1'),
    (rf'{PREDICTOR}decoder\.layers\.(\d+)\.cross_attn\.(.+)', r'decoder.layers.\1.cross_attn.\2'),
    (rf'{PREDICTOR}decoder\.layers\.(\d+)\.self_attn\.(.+)', r'decoder.layers.\1.self_attn.attn.\2'),
    # The original numbers the norms by sub-layer kind, mmdet by order: self-attention, cross-attention, FFN.
    (rf'{PREDICTOR}decoder\.layers\.(\d+)\.norm2\.(\w+)', r'decoder.layers.\1.norms.0.\2'),
    (rf'{PREDICTOR}decoder\.layers\.(\d+)\.norm1\.(\w+)', r'decoder.layers.\1.norms.1.\2'),
    (rf'{PREDICTOR}decoder\.layers\.(\d+)\.norm3\.(\w+)', r'decoder.layers.\1.norms.2.\2'),
    (rf'{PREDICTOR}decoder\.layers\.(\d+)\.linear1\.(\w+)', r'decoder.layers.\1.ffn.layers.0.0.\2'),
    (rf'{PREDICTOR}decoder\.layers\.(\d+)\.linear2\.(\w+)', r'decoder.layers.\1.ffn.layers.1.\2'),
]


class Converted(NamedTuple):
    """A checkpoint in this project's naming, and the source names that have no place in it, by intention."""

    state: dict[str, Tensor]
    ignored: list[str]


def convert_original(state: dict[str, Tensor], head: str = 'panoptic_head') -> Converted:
    """Rename the tensors of an original checkpoint and bring its encoder levels to this project's order.

    Args:
        state: Tensors by their original names.
        head: Name of the head in the model: ``panoptic_head`` under MMDetection, ``decode_head`` under MMSegmentation.

    Raises:
        ValueError: If a name is unknown, or if copies of a shared branch differ.
    """
    head_rules = [(pattern, target and f'{head}.{target}') for pattern, target in HEAD_RULES]
    renamed, dropped, unknown = rename(state, [*BACKBONE_RULES, *head_rules])
    if unknown:
        raise ValueError(f'not tensors of an original Mask DINO: {", ".join(sorted(unknown))}')
    renamed = {name: _reorder_swin(name, value) for name, value in renamed.items()}
    return Converted(_order_levels(renamed, head), dropped)


def _order_levels(state: dict[str, Tensor], head: str) -> dict[str, Tensor]:
    """Order encoder levels from fine to coarse.

    The original orders them either way in the encoder, and the other way round in the decoder (``FEATURE_ORDER``):
    its first input projection, which reads the widest or the narrowest map, tells which.
    """
    convs = f'{head}.pixel_decoder.input_convs'
    kernels = [state[f'{convs}.{i}.conv.weight'] for i in range(len(state[f'{head}.pixel_decoder.level_embed']))]
    from_backbone = [k.shape[1] for k in kernels if k.shape[-1] == 1]
    coarse_first = from_backbone[0] > from_backbone[-1]
    flipped = f'{head}.pixel_decoder.layers' if coarse_first else f'{head}.decoder.layers'
    state = {
        name: _flip_levels(value, len(kernels)) if name.startswith(flipped) and _has_levels(name) else value
        for name, value in state.items()
    }
    if coarse_first:
        last = len(from_backbone) - 1
        moved = {f'{convs}.{i}.': f'{convs}.{last - i}.' for i in range(last + 1)}
        state = {_move(name, moved): value for name, value in state.items()}
        state[f'{head}.pixel_decoder.level_embed'] = state[f'{head}.pixel_decoder.level_embed'].flip(0)
    return state


def _move(name: str, moved: dict[str, str]) -> str:
    prefix = next((p for p in moved if name.startswith(p)), None)
    return name if prefix is None else moved[prefix] + name[len(prefix) :]


def _has_levels(name: str) -> bool:
    return '.sampling_offsets.' in name or '.attention_weights.' in name


def _flip_levels(value: Tensor, num_levels: int, num_heads: int = 8) -> Tensor:
    """Flip the level axis of (heads * levels * ..., ...) rows; every published model has 8 heads."""
    return value.unflatten(0, (num_heads, num_levels, -1)).flip(1).flatten(0, 2)


def _reorder_swin(name: str, value: Tensor) -> Tensor:
    """Order the four pixels that Swin merges by rows first, as mmdet's ``PatchMerging`` unfolds them."""
    if '.downsample.reduction.' not in name and '.downsample.norm.' not in name:
        return value
    channels = value.shape[-1] // 4
    pixels = value.unflatten(-1, (4, channels))[..., [0, 2, 1, 3], :]
    return torch.transpose(pixels, -1, -2).flatten(-2)
