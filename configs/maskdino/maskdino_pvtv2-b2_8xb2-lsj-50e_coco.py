# Nothing is published: PVTv2-B2, a vision transformer with a pyramid, under the model and the training of ResNet-50.
_base_ = './maskdino_r50_8xb2-lsj-50e_coco.py'

pretrained = 'https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b2.pth'

model = dict(
    backbone=dict(
        _delete_=True,
        type='PyramidVisionTransformerV2',
        embed_dims=64,
        num_layers=[3, 4, 6, 3],
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    panoptic_head=dict(pixel_decoder=dict(in_channels=[64, 128, 320, 512])),
)
