# Mask DINO for semantic segmentation: ResNet-50, three encoder levels, 100 learned queries, classes by cross-entropy.
_base_ = './maskdino_r50.py'

custom_imports = dict(imports=['mask_dino.seg'], allow_failed_imports=False)

num_classes = 150

model = dict(
    _delete_=True,
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        # The size of the crops in the config of the data.
        size=(512, 512),
        test_cfg=dict(size_divisor=32),
    ),
    backbone={{_base_.model.backbone}},
    decode_head=dict(
        type='MaskDINODecodeHead',
        num_classes=num_classes,
        pixel_decoder=dict(
            type='MaskDINOPixelDecoder',
            in_channels=[256, 512, 1024, 2048],
            num_levels=3,
            num_layers=6,
            feedforward_channels=1024,
        ),
        queries=dict(type='LearnedQueries', num_queries=100),
        decoder={{_base_.model.panoptic_head.decoder}},
        denoising={{_base_.model.panoptic_head.denoising}},
        criterion=dict(
            type='MaskDINOCriterion',
            matcher={{_base_.model.panoptic_head.criterion.matcher}},
            loss_cls=dict(
                type='CrossEntropyLoss',
                use_sigmoid=False,
                # The last weight is the weight of "no object".
                class_weight=[1.0] * num_classes + [0.1],
                loss_weight=4.0,
            ),
            loss_bbox={{_base_.model.panoptic_head.criterion.loss_bbox}},
            loss_iou={{_base_.model.panoptic_head.criterion.loss_iou}},
            loss_mask={{_base_.model.panoptic_head.criterion.loss_mask}},
            loss_dice={{_base_.model.panoptic_head.criterion.loss_dice}},
            point_sampler={{_base_.model.panoptic_head.criterion.point_sampler}},
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole', max_mask_pixels=2**22),
)
