# Mask DINO with Swin-L (window 12, 384 pixels, ImageNet-22k) and five encoder levels.
_base_ = ['./maskdino_r50.py', '../backbones/swin_l.py']

pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window12_384_22k.pth'

model = dict(
    backbone=dict(
        _delete_=True,
        **_base_.backbone,
        convert_weights=True,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    panoptic_head=dict(
        # The encoder sees strides 4 to 32 and one more level.
        pixel_decoder=dict(in_channels=[192, 384, 768, 1536], num_levels=5, first_level=0),
        queries=dict(anchor_sizes=[0.8, 0.4, 0.2, 0.1, 0.05], pixel_exact=True),
    ),
)
