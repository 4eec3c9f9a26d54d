# Nothing is published: ConvNeXt-T under the model and the training of ResNet-50. It needs mmpretrain, which
# imports torchvision.
_base_ = './maskdino_r50_8xb2-lsj-50e_coco.py'

pretrained = (
    'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/'
    'convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'
)

model = dict(
    backbone=dict(
        _delete_=True,
        # The prefix imports mmpretrain.
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=[0, 1, 2, 3],
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        gap_before_final_norm=False,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    panoptic_head=dict(pixel_decoder=dict(in_channels=[96, 192, 384, 768])),
)
