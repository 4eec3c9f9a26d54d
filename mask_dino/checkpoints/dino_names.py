"""What detectors of the DINO family call their tensors, and what they are here."""

from collections.abc import Iterable
from typing import NamedTuple

from .maskdino_names import BACKBONE
from .rename import Pair


class Naming(NamedTuple):
    """The names of one implementation of DINO.

    In ``branches``, ``N`` is the number of the last decoder layer and ``E`` that of the encoder's branch.
    """

    mark: str  # a tensor that no other implementation has
    decoder_layer: str  # a tensor that every decoder layer has, ``#`` being the layer
    backbone: list[Pair]
    head: list[Pair]
    branches: list[Pair]
    boxes: list[Pair]  # of a decoder layer before the last, which is ``L``
    dropped: list[str]

    def pairs(self, num_layers: int) -> list[Pair]:
        """Return all pairs of a detector with so many decoder layers, but for the name of the head here."""
        branches = (
            Pair(source.replace('N', str(num_layers - 1)).replace('E', str(num_layers)), target)
            for source, target in self.branches
        )
        boxes = (
            Pair(source.replace('L', str(layer)), target.replace('L', str(layer)))
            for layer in range(num_layers - 1)
            for source, target in self.boxes
        )
        return [*self.head, *branches, *boxes]


MMDET = Naming(
    mark='neck.convs.0.conv.weight',
    decoder_layer='decoder.layers.#.norms.0.weight',
    backbone=[Pair('backbone.*', 'backbone.*')],
    head=[
        Pair('neck.convs.#.*', 'pixel_decoder.input_convs.#.*'),
        Pair('level_embed', 'pixel_decoder.level_embed'),
        Pair('encoder.layers.*', 'pixel_decoder.layers.*'),
        Pair('decoder.layers.*', 'decoder.layers.*'),
        Pair('decoder.ref_point_head.*', 'decoder.ref_point_head.*'),
        Pair('decoder.norm.*', 'prediction.norm.*'),
        Pair('memory_trans_fc.*', 'queries.proj.0.*'),
        Pair('memory_trans_norm.*', 'queries.proj.1.*'),
        Pair('query_embedding.weight', 'queries.content.weight'),
        Pair('dn_query_generator.label_embedding.weight', 'denoising.label_embed.weight'),
    ],
    branches=[
        Pair(f'bbox_head.{theirs}', f'{head}.{ours}')
        for number, head in (('N', 'prediction'), ('E', 'encoder_prediction'))
        for theirs, ours in (
            (f'cls_branches.{number}.*', 'class_embed.*'),
            (f'reg_branches.{number}.0.*', 'box_embed.layers.0.*'),
            (f'reg_branches.{number}.2.*', 'box_embed.layers.1.*'),
            (f'reg_branches.{number}.4.*', 'box_embed.layers.2.*'),
        )
    ],
    boxes=[
        Pair(f'bbox_head.reg_branches.L.{2 * number}.*', f'decoder.box_embeds.L.layers.{number}.*')
        for number in range(3)
    ],
    dropped=['bbox_head.cls_branches.?.*', 'bbox_head.reg_branches.?.*'],
)

ENCODER, DECODER = 'transformer.encoder.layers.#', 'transformer.decoder.layers.#'

ORIGINAL = Naming(
    mark='transformer.enc_output.weight',
    decoder_layer=f'{DECODER}.norm1.weight',
    backbone=[
        # torchvision's ResNet has the names of mmdet's
        Pair('backbone.0.body.*', 'backbone.*'),
        *(Pair(source.replace('backbone.', 'backbone.0.', 1), target) for source, target in BACKBONE),
    ],
    head=[
        Pair('input_proj.#.0.*', 'pixel_decoder.input_convs.#.conv.*'),
        Pair('input_proj.#.1.*', 'pixel_decoder.input_convs.#.gn.*'),
        Pair('transformer.level_embed', 'pixel_decoder.level_embed'),
        Pair(f'{ENCODER}.self_attn.*', 'pixel_decoder.layers.#.self_attn.*'),
        Pair(f'{ENCODER}.norm1.*', 'pixel_decoder.layers.#.norms.0.*'),
        Pair(f'{ENCODER}.norm2.*', 'pixel_decoder.layers.#.norms.1.*'),
        Pair(f'{ENCODER}.linear1.*', 'pixel_decoder.layers.#.ffn.layers.0.0.*'),
        Pair(f'{ENCODER}.linear2.*', 'pixel_decoder.layers.#.ffn.layers.1.*'),
        Pair(f'{DECODER}.cross_attn.*', 'decoder.layers.#.cross_attn.*'),
        Pair(f'{DECODER}.self_attn.*', 'decoder.layers.#.self_attn.attn.*'),
        # numbered by kind there, by order here
        Pair(f'{DECODER}.norm2.*', 'decoder.layers.#.norms.0.*'),
        Pair(f'{DECODER}.norm1.*', 'decoder.layers.#.norms.1.*'),
        Pair(f'{DECODER}.norm3.*', 'decoder.layers.#.norms.2.*'),
        Pair(f'{DECODER}.linear1.*', 'decoder.layers.#.ffn.layers.0.0.*'),
        Pair(f'{DECODER}.linear2.*', 'decoder.layers.#.ffn.layers.1.*'),
        Pair('transformer.decoder.ref_point_head.*', 'decoder.ref_point_head.*'),
        Pair('transformer.decoder.norm.*', 'prediction.norm.*'),
        Pair('transformer.enc_output.*', 'queries.proj.0.*'),
        Pair('transformer.enc_output_norm.*', 'queries.proj.1.*'),
        Pair('transformer.tgt_embed.weight', 'queries.content.weight'),
        Pair('label_enc.weight', 'denoising.label_embed.weight'),
        Pair('transformer.enc_out_class_embed.*', 'encoder_prediction.class_embed.*'),
        Pair('transformer.enc_out_bbox_embed.*', 'encoder_prediction.box_embed.*'),
    ],
    branches=[
        Pair('class_embed.N.*', 'prediction.class_embed.*'),
        Pair('bbox_embed.N.*', 'prediction.box_embed.*'),
    ],
    boxes=[Pair('bbox_embed.L.*', 'decoder.box_embeds.L.*')],
    dropped=[
        'class_embed.?.*',
        'bbox_embed.?.*',
        'transformer.decoder.class_embed.?.*',
        'transformer.decoder.bbox_embed.?.*',
    ],
)


def extra_levels(state: Iterable[str], num_maps: int) -> list[Pair]:
    """Return the names of mmdet's strided levels, which it numbers on their own, here behind those of the backbone."""
    return [
        Pair(f'neck.extra_convs.{number}.*', f'pixel_decoder.input_convs.{num_maps + number}.*')
        for number in range(sum(name.startswith('neck.extra_convs.') for name in state))
    ]
