"""What the original implementation (IDEA-Research/MaskDINO, and detrex) calls the tensors, and what they are here."""

from .rename import Pair

DERIVED = [
    'criterion.empty_weight',  # a constant of the losses
    'backbone.layers.*.relative_position_index',  # follows from the window size
]
"""Tensors of the original that its config determines."""


def _stage(stage: int) -> list[Pair]:
    source, target = f'backbone.res{stage + 1}.#', f'backbone.layer{stage}.#'
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
ENCODER = f'{PIXEL_DECODER}.transformer.encoder.layers.#'
PREDICTOR = 'sem_seg_head.predictor'
DECODER = f'{PREDICTOR}.decoder.layers.#'

HEAD = [
    Pair(f'{PIXEL_DECODER}.input_proj.#.0.*', 'pixel_decoder.input_convs.#.conv.*'),
    Pair(f'{PIXEL_DECODER}.input_proj.#.1.*', 'pixel_decoder.input_convs.#.gn.*'),
    Pair(f'{PIXEL_DECODER}.transformer.level_embed', 'pixel_decoder.level_embed'),
    Pair(f'{ENCODER}.self_attn.*', 'pixel_decoder.layers.#.self_attn.*'),
    Pair(f'{ENCODER}.norm1.*', 'pixel_decoder.layers.#.norms.0.*'),
    Pair(f'{ENCODER}.norm2.*', 'pixel_decoder.layers.#.norms.1.*'),
    Pair(f'{ENCODER}.linear1.*', 'pixel_decoder.layers.#.ffn.layers.0.0.*'),
    Pair(f'{ENCODER}.linear2.*', 'pixel_decoder.layers.#.ffn.layers.1.*'),
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
    Pair(f'{DECODER}.cross_attn.*', 'decoder.layers.#.cross_attn.*'),
    Pair(f'{DECODER}.self_attn.*', 'decoder.layers.#.self_attn.attn.*'),
    # The original numbers the norms by sub-layer kind, mmdet by order: self-attention, cross-attention, FFN.
    Pair(f'{DECODER}.norm2.*', 'decoder.layers.#.norms.0.*'),
    Pair(f'{DECODER}.norm1.*', 'decoder.layers.#.norms.1.*'),
    Pair(f'{DECODER}.norm3.*', 'decoder.layers.#.norms.2.*'),
    Pair(f'{DECODER}.linear1.*', 'decoder.layers.#.ffn.layers.0.0.*'),
    Pair(f'{DECODER}.linear2.*', 'decoder.layers.#.ffn.layers.1.*'),
]

COPIES = [
    # One box branch and one norm, which the original stores under several names.
    Pair(f'{PREDICTOR}._bbox_embed.layers.*', f'{PREDICTOR}.bbox_embed.?.layers.*'),
    Pair(f'{PREDICTOR}._bbox_embed.layers.*', f'{PREDICTOR}.decoder.bbox_embed.?.layers.*'),
    Pair(f'{PREDICTOR}.decoder_norm.*', f'{PREDICTOR}.decoder.norm.*'),
]
"""Further names in the original of a tensor; ``?`` is the number of a decoder layer."""


def pairs(head: str) -> list[Pair]:
    """Return the names of a model whose head has this name: ``panoptic_head`` or ``decode_head``."""
    return [*BACKBONE, *(Pair(source, f'{head}.{target}') for source, target in HEAD)]


def pairs_of_copies(head: str) -> list[Pair]:
    """Return the further names of the original with those of the model."""
    ours = {pair.source: pair.target for pair in pairs(head)}
    return [Pair(further, ours[first]) for first, further in COPIES]
