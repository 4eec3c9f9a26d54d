"""From backbone maps to encoder tokens and the stride-4 features that masks are made of."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.layers import SinePositionalEncoding
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..boxes import token_centers
from ..ops.recomputing import apply_layer
from ..ops.transformer_layers import LayerSizes, build_encoder_layers
from ..ops.winograd import WinogradConv2d
from ..structures import Memory

NORM_CFG = dict(type='GN', num_groups=32)
OUTPUT_CFG = dict(conv_cfg=dict(type=WinogradConv2d.__name__), norm_cfg=NORM_CFG)


@MODELS.register_module()
class MaskDINOPixelDecoder(nn.Module):
    """Deformable encoder over backbone maps and coarser levels, fused with the stride-4 map.

    Differs from mmdet's ``MSDeformAttnPixelDecoder`` by levels that are coarser than the backbone's and by the option
    of a stride-4 level. Padding is not masked: coordinates are fractions of the padded input, as in the original.

    Args:
        in_channels: Channels of the backbone maps, stride 4 first.
        num_levels: Encoder levels. Levels beyond the backbone's are strided convolutions of the coarsest map.
        first_level: Index of the finest backbone map that the encoder sees.
        with_cp: Whether to compute layers again in the backward pass instead of keeping their values.
        temperature: Of the positional encoding; DINO has 20.

    Raises:
        ValueError: There are fewer levels than backbone maps to put into them.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_levels: int,
        first_level: int = 1,
        num_layers: int = 6,
        embed_dims: int = 256,
        feedforward_channels: int = 2048,
        num_heads: int = 8,
        num_points: int = 4,
        with_cp: bool = False,
        temperature: int = 10000,
    ) -> None:
        super().__init__()
        from_backbone = list(in_channels[first_level:])
        num_extra = num_levels - len(from_backbone)
        if num_extra < 0 or not from_backbone:
            raise ValueError(
                f'MaskDINOPixelDecoder: num_levels={num_levels} cannot hold the backbone maps from index '
                f'first_level={first_level} on, of {len(in_channels)} (in_channels={list(in_channels)}); '
                f'set num_levels to {len(from_backbone)} or more, or first_level higher'
            )
        self.first_level = first_level
        self.with_cp = with_cp
        self.in_channels = tuple(in_channels)
        extra = [from_backbone[-1], *[embed_dims] * num_extra][:num_extra]
        self.input_convs = nn.ModuleList(
            [_projection(channels, embed_dims) for channels in from_backbone]
            + [_projection(channels, embed_dims, stride=2) for channels in extra]
        )
        self.position = SinePositionalEncoding(embed_dims // 2, temperature, normalize=True)
        self.level_embed = nn.Parameter(torch.randn(num_levels, embed_dims))
        sizes = LayerSizes(embed_dims, num_levels, feedforward_channels, num_heads, num_points)
        self.layers = build_encoder_layers(num_layers, sizes)
        self.lateral_conv = ConvModule(
            in_channels[0], embed_dims, 1, norm_cfg=NORM_CFG, act_cfg=None
        )
        self.output_conv = ConvModule(embed_dims, embed_dims, 3, padding=1, **OUTPUT_CFG)
        self.mask_conv = nn.Conv2d(embed_dims, embed_dims, 1)
        for conv in (self.lateral_conv.conv, self.output_conv.conv, self.mask_conv):
            nn.init.kaiming_uniform_(conv.weight, a=1)
        nn.init.zeros_(self.mask_conv.get_parameter('bias'))

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Memory]:
        """Return mask features (B, C, H/4, W/4) and the encoder's memory.

        Args:
            feats: Backbone maps (B, C_i, H / s_i, W / s_i), stride 4 first.

        Raises:
            ValueError: The maps have other channels than the config says.
        """
        self.check_channels(feats)
        levels = self.project(feats[self.first_level :])
        memory = self.encode(levels)
        height, width = memory.sizes[0]
        tokens = memory.tokens[:, : height * width]  # of the finest level
        finest = tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)  # (B, C, h, w)
        lateral = self.lateral_conv(feats[0])  # (B, C, H/4, W/4)
        enlarged = F.interpolate(finest, lateral.shape[-2:], mode='bilinear', align_corners=False)
        lateral += enlarged  # in its own memory: another large tensor would cost page faults
        mask_features = self.mask_conv(self.output_conv(lateral))
        return mask_features, memory

    def check_channels(self, feats: Sequence[Tensor]) -> None:
        """Compare the channels of the maps (B, C_i, H / s_i, W / s_i) with the config.

        Raises:
            ValueError: They differ.
        """
        channels = tuple(level.shape[1] for level in feats)
        if channels != self.in_channels:
            raise ValueError(
                f'MaskDINOPixelDecoder has in_channels={list(self.in_channels)}, but the backbone returns maps of '
                f'{list(channels)} channels: set pixel_decoder.in_channels to these, or correct backbone.out_indices'
            )

    def project(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the encoder's input levels (B, C, h, w), fine to coarse."""
        levels = [conv(x) for conv, x in zip(self.input_convs, maps, strict=False)]
        x = maps[-1]
        for conv in self.input_convs[len(maps) :]:
            x = conv(x)
            levels.append(x)
        return levels

    def encode(self, levels: list[Tensor]) -> Memory:
        """Run the encoder over levels (B, C, h, w)."""
        device = levels[0].device
        sizes = tuple((x.shape[-2], x.shape[-1]) for x in levels)
        shapes = torch.tensor(sizes).to(device, non_blocking=True)
        starts = torch.cat((shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]))
        positions = [
            _to_tokens(self.position(None, level[:1])) + embed
            for level, embed in zip(levels, self.level_embed, strict=True)
        ]
        position = torch.cat(positions, 1)  # (1, L, C)
        centers = token_centers(sizes, device)  # (L, 2)
        tokens = torch.cat([_to_tokens(level) for level in levels], 1)  # (B, L, C)
        points = centers[None, :, None].expand(tokens.shape[0], -1, len(sizes), -1)
        memory = Memory(tokens, sizes, shapes, starts)
        for layer in self.layers:
            memory = memory._replace(
                tokens=apply_layer(layer, self.with_cp, memory, position, points)
            )
        return memory


def _projection(in_channels: int, embed_dims: int, stride: int = 1) -> ConvModule:
    size = 1 if stride == 1 else 3
    conv = ConvModule(
        in_channels, embed_dims, size, stride, size // 2, bias=True, norm_cfg=NORM_CFG, act_cfg=None
    )
    nn.init.xavier_uniform_(conv.conv.weight)
    nn.init.zeros_(conv.conv.bias)
    return conv


def _to_tokens(level: Tensor) -> Tensor:
    """Return the pixels of a map (B, C, h, w) as tokens (B, h * w, C)."""
    return level.flatten(2).transpose(1, 2)
