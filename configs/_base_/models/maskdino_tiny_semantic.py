# The small Mask DINO for semantic segmentation.
_base_ = './maskdino_r50_semantic.py'

num_classes = 8
num_points = 400

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        depth=18,
        base_channels=24,
        stem_channels=24,  # as in MMDetection, where a backbone can be trained first; MMSegmentation has 64
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    decode_head=dict(
        num_classes=num_classes,
        embed_dims=64,
        pixel_decoder=dict(in_channels=[24, 48, 96, 192], num_layers=1, feedforward_channels=256),
        queries=dict(num_queries=20),
        decoder=dict(num_layers=3, feedforward_channels=256),
        # Half of the labels are random, so that the model has to see the classes in the image.
        denoising=dict(num_queries=30, flip_prob=0.5),
        criterion=dict(
            matcher=dict(num_points=num_points),
            loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
            point_sampler=dict(num_points=num_points),
        ),
    ),
    # Only in training: it classifies pixels, which teaches a backbone without pre-training what classes look like.
    auxiliary_head=dict(
        type='FCNHead',
        num_classes=num_classes,
        in_channels=[48, 96, 192],
        in_index=[1, 2, 3],
        input_transform='resize_concat',
        channels=64,
        kernel_size=1,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.0,
        norm_cfg=dict(type='BN', requires_grad=True),
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=10.0),
    ),
)
