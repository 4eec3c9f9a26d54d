# Mask DINO with ResNet-50, four encoder levels and 300 queries selected from the encoder.
custom_imports = dict(imports=['mask_dino.det'], allow_failed_imports=False)

num_things_classes = 80
num_stuff_classes = 0

model = dict(
    type='MaskDINO',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        # Statistics and affine parameters of all stages stay as they were pre-trained.
        norm_cfg=dict(type='mmdet.FrozenBN'),
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    panoptic_head=dict(
        type='MaskDINOHead',
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        pixel_decoder=dict(
            type='MaskDINOPixelDecoder',
            in_channels=[256, 512, 1024, 2048],
            num_levels=4,
            num_layers=6,
            feedforward_channels=2048,
            # True saves memory and takes more time; decoder.with_cp and backbone.with_cp do the same.
            with_cp=False,
        ),
        queries=dict(
            type='QuerySelection',
            num_queries=300,
            anchor_sizes=[0.4, 0.2, 0.1, 0.05],
            boxes_from_masks=True,
            pixel_exact=False,
        ),
        decoder=dict(
            type='MaskDINODecoder', num_layers=9, feedforward_channels=2048, with_cp=False
        ),
        denoising=dict(type='UnifiedDenoising', num_queries=100, noise_scale=0.4),
        criterion=dict(
            type='MaskDINOCriterion',
            matcher=dict(
                type='HybridMatcher',
                num_points=12544,
                match_costs=[
                    dict(type='FocalLossCost', weight=4.0, eps=1e-8),
                    dict(type='MaskCrossEntropyCost', weight=5.0),
                    dict(type='DiceCost', weight=5.0, pred_act=True, eps=1.0),
                ],
                box_costs=[
                    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                    dict(type='IoUCost', weight=2.0, iou_mode='giou'),
                ],
            ),
            loss_cls=dict(
                type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=4.0
            ),
            loss_bbox=dict(type='L1Loss', loss_weight=5.0),
            loss_iou=dict(type='GIoULoss', loss_weight=2.0),
            loss_mask=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=5.0),
            loss_dice=dict(
                type='DiceLoss',
                use_sigmoid=True,
                activate=True,
                naive_dice=True,
                eps=1.0,
                loss_weight=5.0,
            ),
            point_sampler=dict(
                num_points=12544, oversample_ratio=3.0, importance_sample_ratio=0.75
            ),
        ),
    ),
    panoptic_fusion_head=dict(
        type='MaskDINOFusionHead',
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
    ),
    test_cfg=dict(
        instance_on=True,
        panoptic_on=False,
        semantic_on=False,
        stuff_on=False,
        max_per_image=100,
        rank_things_alone=False,
        object_mask_thr=0.25,
        iou_thr=0.8,
        temperature=0.06,
        mask_window=None,
        mean_boxes=False,
        agreement_scores=False,
        nms_iou=None,
        # Pixels of enlarged masks held in float at once. It bounds the memory and changes no result.
        max_mask_pixels=2**22,
    ),
)
