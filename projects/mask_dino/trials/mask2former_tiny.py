# MMDetection's Mask2Former with the backbone, the sizes and the training of maskdino_tiny.py.
_base_ = [
    './tiny_backbone.py',
    '../../../configs/_base_/shapes_runtime.py',
    '../../../configs/_base_/schedules/shapes.py',
]
custom_imports = dict(imports=['mask_dino.det'], allow_failed_imports=False)

num_things_classes = 5
num_stuff_classes = 0
embed_dims = 64
num_levels = 3
num_points = 400

position = dict(num_feats=embed_dims // 2, normalize=True)
attention = dict(embed_dims=embed_dims, num_heads=8, dropout=0.0, batch_first=True)
ffn = dict(
    embed_dims=embed_dims,
    feedforward_channels=256,
    num_fcs=2,
    ffn_drop=0.0,
    act_cfg=dict(type='ReLU', inplace=True),
)

model = dict(
    type='Mask2Former',
    panoptic_head=dict(
        type='Mask2FormerHead',
        in_channels=[24, 48, 96, 192],
        strides=[4, 8, 16, 32],
        feat_channels=embed_dims,
        out_channels=embed_dims,
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        num_queries=60,
        num_transformer_feat_level=num_levels,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder',
            num_outs=num_levels,
            norm_cfg=dict(type='GN', num_groups=32),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=1,
                layer_cfg=dict(
                    self_attn_cfg=dict(attention, num_levels=num_levels, num_points=4),
                    ffn_cfg=ffn,
                ),
            ),
            positional_encoding=position,
        ),
        enforce_decoder_input_project=False,
        positional_encoding=position,
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=3,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
            init_cfg=None,
        ),
        loss_cls=dict(
            type='CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=2.0,
            reduction='mean',
            class_weight=[1.0] * (num_things_classes + num_stuff_classes) + [0.1],
        ),
        loss_mask=dict(
            type='CrossEntropyLoss', use_sigmoid=True, reduction='mean', loss_weight=5.0
        ),
        loss_dice=dict(
            type='DiceLoss',
            use_sigmoid=True,
            activate=True,
            reduction='mean',
            naive_dice=True,
            eps=1.0,
            loss_weight=5.0,
        ),
    ),
    panoptic_fusion_head=dict(
        type='MaskFormerFusionHead',
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        loss_panoptic=None,
    ),
    train_cfg=dict(
        num_points=num_points,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='ClassificationCost', weight=2.0),
                dict(type='CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
                dict(type='DiceCost', weight=5.0, pred_act=True, eps=1.0),
            ],
        ),
        sampler=dict(type='MaskPseudoSampler'),
    ),
    test_cfg=dict(
        panoptic_on=False,
        semantic_on=False,
        instance_on=True,
        max_per_image=60,
        iou_thr=0.8,
        filter_low_score=True,
    ),
)
