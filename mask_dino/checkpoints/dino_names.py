"""The names of tensors in detectors of the DINO family, and their names here."""

from collections.abc import Iterable
from typing import NamedTuple

from .maskdino_names import BACKBONE, Pair, name_decoder_layers, name_encoder_layers


class Naming(NamedTuple):
    """The names of one implementation of DINO.

    In ``branches``, ``N`` is the number of the last decoder layer and ``E`` is the number of the encoder's branch.
    """

    mark: str  # a tensor that no other implementation has
    decoder_layer: str  # a tensor that every decoder layer has, ``#`` being the layer
    backbone: list[Pair]
    head: list[Pair]
    branches: list[Pair]
    boxes: list[Pair]  # of a decoder layer before the last, which is ``L``
    dropped: list[str]

    def list_names(self, num_layers: int) -> list[Pair]:
        """Return the names of all tensors behind the backbone, for a detector with this number of decoder layers."""
        last = str(num_layers - 1)
        encoder = str(num_layers)
        branches = (
            Pair(source.replace('N', last).replace('E', encoder), target)
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

ORIGINAL = Naming(
    mark='transformer.enc_output.weight',
    decoder_layer='transformer.decoder.layers.#.norm1.weight',
    backbone=[
        # torchvision's ResNet has the names of mmdet's
        Pair('backbone.0.body.*', 'backbone.*'),
        *(
            Pair(source.replace('backbone.', 'backbone.0.', 1), target)
            for source, target in BACKBONE
        ),
    ],
    head=[
        Pair('input_proj.#.0.*', 'pixel_decoder.input_convs.#.conv.*'),
        Pair('input_proj.#.1.*', 'pixel_decoder.input_convs.#.gn.*'),
        Pair('transformer.level_embed', 'pixel_decoder.level_embed'),
        *name_encoder_layers('transformer.encoder.layers.#'),
        *name_decoder_layers('transformer.decoder.layers.#'),
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


def list_extra_levels(state: Iterable[str], num_maps: int) -> list[Pair]:
    """Return the names of strided levels: mmdet counts them from 0, here they follow the maps of the backbone.

    Args:
        state: Names in the detector.
        num_maps: Maps of the backbone that the encoder reads.
    """
    return [
        Pair(f'neck.extra_convs.{number}.*', f'pixel_decoder.input_convs.{num_maps + number}.*')
        for number in range(sum(name.startswith('neck.extra_convs.') for name in state))
    ]
