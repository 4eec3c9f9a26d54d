# Nothing is published: Swin-B under the model and the training of ResNet-50.
_base_ = ['./maskdino_r50_8xb2-lsj-50e_coco.py', '../_base_/backbones/swin_b.py']

pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window12_384_22k.pth'

model = dict(
    backbone=dict(
        _delete_=True,
        **_base_.backbone,
        convert_weights=True,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    panoptic_head=dict(pixel_decoder=dict(in_channels=[128, 256, 512, 1024])),
)
