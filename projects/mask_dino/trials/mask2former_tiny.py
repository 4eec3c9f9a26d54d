# MMDetection's Mask2Former with the backbone, the sizes and the training of maskdino_tiny.py.
_base_ = [
    './tiny_backbone.py',
    './mask2former_parts.py',
    '../../../configs/_base_/shapes_runtime.py',
    '../../../configs/_base_/schedules/shapes.py',
]
custom_imports = dict(imports=['mask_dino.det'], allow_failed_imports=False)

num_things_classes = 5
num_stuff_classes = 0

model = dict(
    type='Mask2Former',
    panoptic_head=dict(
        type='Mask2FormerHead',
        in_channels=[24, 48, 96, 192],
        strides=[4, 8, 16, 32],
        feat_channels={{_base_.embed_dims}},
        out_channels={{_base_.embed_dims}},
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        num_queries=60,
        num_transformer_feat_level={{_base_.num_levels}},
        pixel_decoder={{_base_.pixel_decoder}},
        enforce_decoder_input_project=False,
        positional_encoding={{_base_.positional_encoding}},
        transformer_decoder={{_base_.transformer_decoder}},
        loss_cls=dict(
            type='CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=2.0,
            reduction='mean',
            class_weight=[1.0] * (num_things_classes + num_stuff_classes) + [0.1],
        ),
        loss_mask={{_base_.loss_mask}},
        loss_dice={{_base_.loss_dice}},
    ),
    panoptic_fusion_head=dict(
        type='MaskFormerFusionHead',
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        loss_panoptic=None,
    ),
    train_cfg={{_base_.matching}},
    test_cfg=dict(
        panoptic_on=False,
        semantic_on=False,
        instance_on=True,
        max_per_image=60,
        iou_thr=0.8,
        filter_low_score=True,
    ),
)
