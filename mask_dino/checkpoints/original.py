"""What the original implementation (IDEA-Research/MaskDINO, and detrex) calls the tensors, and what they are here."""

from .renaming import Rule


def _stage_rules(stage: int) -> list[Rule]:
    source, target = rf'backbone\.res{stage + 1}\.(\d+)\.', rf'backbone.layer{stage}.\1.'
    return [
        (source + r'conv(\d)\.norm\.(\w+)', target + r'bn\2.\3'),
        (source + r'conv(\d)\.weight', target + r'conv\2.weight'),
        (source + r'shortcut\.norm\.(\w+)', target + r'downsample.1.\2'),
        (source + r'shortcut\.weight', target + r'downsample.0.weight'),
    ]


BACKBONE_RULES: list[Rule] = [
    # detectron2's ResNet
    (r'backbone\.stem\.conv1\.norm\.(\w+)', r'backbone.bn1.\1'),
    (r'backbone\.stem\.conv1\.weight', r'backbone.conv1.weight'),
    *(rule for stage in range(1, 5) for rule in _stage_rules(stage)),
    # Swin
    (r'backbone\.layers\..+\.relative_position_index', ''),  # derived from the window size
    (r'backbone\.patch_embed\.proj\.(\w+)', r'backbone.patch_embed.projection.\1'),
    (r'backbone\.(patch_embed\.norm|norm\d)\.(\w+)', r'backbone.\1.\2'),
    (r'backbone\.layers\.(\d+)\.blocks\.(\d+)\.attn\.(.+)', r'backbone.stages.\1.blocks.\2.attn.w_msa.\3'),
    (r'backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)', r'backbone.stages.\1.blocks.\2.ffn.layers.0.0.\3'),
    (r'backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)', r'backbone.stages.\1.blocks.\2.ffn.layers.1.\3'),
    (r'backbone\.layers\.(.+)', r'backbone.stages.\1'),
]

PIXEL_DECODER = r'sem_seg_head\.pixel_decoder\.'
ENCODER = PIXEL_DECODER + r'transformer\.encoder\.'
PREDICTOR = r'sem_seg_head\.predictor\.'

HEAD_RULES: list[Rule] = [
    (r'criterion\.empty_weight', ''),  # a constant of the losses
    (rf'{PIXEL_DECODER}input_proj\.(\d+)\.0\.(\w+)', r'pixel_decoder.input_convs.\1.conv.\2'),
    (rf'{PIXEL_DECODER}input_proj\.(\d+)\.1\.(\w+)', r'pixel_decoder.input_convs.\1.gn.\2'),
    (rf'{PIXEL_DECODER}transformer\.level_embed', r'pixel_decoder.level_embed'),
    (rf'{ENCODER}layers\.(\d+)\.self_attn\.(.+)', r'pixel_decoder.layers.\1.self_attn.\2'),
    (rf'{ENCODER}layers\.(\d+)\.norm1\.(\w+)', r'pixel_decoder.layers.\1.norms.0.\2'),
    (rf'{ENCODER}layers\.(\d+)\.norm2\.(\w+)', r'pixel_decoder.layers.\1.norms.1.\2'),
    (rf'{ENCODER}layers\.(\d+)\.linear1\.(\w+)', r'pixel_decoder.layers.\1.ffn.layers.0.0.\2'),
    (rf'{ENCODER}layers\.(\d+)\.linear2\.(\w+)', r'pixel_decoder.layers.\1.ffn.layers.1.\2'),
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


def rules(head: str) -> list[Rule]:
    """Return the rules for a model whose head has this name: ``panoptic_head`` or ``decode_head``."""
    return [*BACKBONE_RULES, *((pattern, target and f'{head}.{target}') for pattern, target in HEAD_RULES)]
