# Nothing is published: Swin-S under the model and the training of ResNet-50.
_base_ = ['./maskdino_r50_8xb2-lsj-50e_coco.py', '../_base_/backbones/swin_s.py']

pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_small_patch4_window7_224.pth'

model = dict(
    backbone=dict(
        _delete_=True,
        **_base_.backbone,
        convert_weights=True,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    panoptic_head=dict(pixel_decoder=dict(in_channels=[96, 192, 384, 768])),
)
