# A small Mask DINO, trained from scratch on a CPU in minutes (`make demo`).
_base_ = [
    '../_base_/models/maskdino_r50.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/default_runtime.py',
]

num_things_classes = 5
num_points = 400

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(
        depth=18,
        base_channels=24,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        embed_dims=64,
        # Few objects and few steps: without it, the first ones only teach that most queries are no object.
        prior_prob=0.01,
        pixel_decoder=dict(in_channels=[24, 48, 96, 192], num_levels=3, num_layers=1, feedforward_channels=256),
        # In a training as short as this one, masks are learned sooner than boxes: they are started from exactly.
        queries=dict(num_queries=30, anchor_sizes=[0.1, 0.2, 0.4], pixel_exact=True),
        decoder=dict(num_layers=3, feedforward_channels=256),
        denoising=dict(num_queries=30),
        criterion=dict(
            matcher=dict(num_points=num_points),
            point_sampler=dict(num_points=num_points),
        ),
    ),
    panoptic_fusion_head=dict(num_things_classes=num_things_classes),
    test_cfg=dict(max_per_image=30),
)

max_iters = 1200
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

train_dataloader = dict(num_workers=1, sampler=dict(type='InfiniteSampler', shuffle=True))

default_hooks = dict(checkpoint=dict(interval=200, max_keep_ckpts=1))
custom_hooks = [dict(type='ProgressHook')]

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MaskDINOOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=0.1, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, eta_min=1e-5),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
