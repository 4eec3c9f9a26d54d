# A Mask DINO small enough to be trained from scratch on a CPU in minutes.
_base_ = './maskdino_r50.py'

num_points = 400

model = dict(
    backbone=dict(
        depth=18,
        base_channels=24,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        # With residual branches that begin at zero, a training of minutes is over before they have grown.
        zero_init_residual=False,
        init_cfg=None,
    ),
    panoptic_head=dict(
        embed_dims=64,
        # Few objects and few steps: without it, the first ones only teach that most queries are no object.
        prior_prob=0.01,
        pixel_decoder=dict(in_channels=[24, 48, 96, 192], num_levels=3, num_layers=1, feedforward_channels=256),
        # In a training as short as this one, masks are learned sooner than boxes: they are started from exactly.
        queries=dict(num_queries=30, anchor_sizes=[0.1, 0.2, 0.4], pixel_exact=True),
        decoder=dict(num_layers=3, feedforward_channels=256),
        # Labels that say nothing, and heavy classes: masks are learned soon, but what they show is hard to tell.
        denoising=dict(num_queries=60, flip_prob=1.0),
        criterion=dict(
            loss_cls=dict(loss_weight=10.0),
            matcher=dict(num_points=num_points),
            point_sampler=dict(num_points=num_points),
        ),
    ),
    test_cfg=dict(max_per_image=30),
)
