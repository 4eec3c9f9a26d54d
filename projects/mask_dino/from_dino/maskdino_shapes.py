# A Mask DINO that a converted `dino_shapes.py` fits, for instances of Shapes.
_base_ = '../../../configs/maskdino/maskdino_tiny_shapes.py'

model = dict(
    # as the detector's backbone
    backbone=dict(zero_init_residual=True),
    panoptic_head=dict(
        embed_dims=256,
        pixel_decoder=dict(num_levels=4, num_layers=1, feedforward_channels=512, temperature=20),
        queries=dict(
            num_queries=100,
            anchor_sizes=[0.05, 0.1, 0.2, 0.4],
            boxes_from_masks=False,
            learned_content=True,
            separate_branches=True,
        ),
        decoder=dict(
            num_layers=3,
            feedforward_channels=512,
            separate_box_branches=True,
            normalise_content_once=True,
        ),
        # as published: the detector already knows the classes
        denoising=dict(num_queries=30, flip_prob=0.2),
        criterion=dict(loss_cls=dict(loss_weight=4.0)),
    ),
    test_cfg=dict(max_per_image=100),
)

max_iters = 150
train_dataloader = dict(batch_size=8)
train_cfg = dict(max_iters=max_iters, val_interval=30)
randomness = dict(seed=0)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=max_iters, eta_min=1e-5),
]
