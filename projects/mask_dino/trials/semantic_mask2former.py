# MMSegmentation's Mask2Former with the same backbone, sizes and training.
_base_ = ['./semantic_plain.py', './mask2former_parts.py']

num_classes = 8

model = dict(
    decode_head=dict(
        _delete_=True,
        type='Mask2FormerHead',
        in_channels=[24, 48, 96, 192],
        strides=[4, 8, 16, 32],
        feat_channels={{_base_.embed_dims}},
        out_channels={{_base_.embed_dims}},
        num_classes=num_classes,
        num_queries=20,
        num_transformer_feat_level={{_base_.num_levels}},
        align_corners=False,
        pixel_decoder={{_base_.pixel_decoder}},
        enforce_decoder_input_project=False,
        positional_encoding={{_base_.positional_encoding}},
        transformer_decoder={{_base_.transformer_decoder}},
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=2.0,
            reduction='mean',
            class_weight=[1.0] * num_classes + [0.1],
        ),
        loss_mask={{_base_.loss_mask}},
        loss_dice={{_base_.loss_dice}},
        train_cfg={{_base_.matching}},
    ),
    test_cfg=dict(_delete_=True, mode='whole'),
)
