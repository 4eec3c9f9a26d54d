# A Mask DINO small enough to be trained from scratch on a CPU in minutes.
_base_ = './maskdino_r50.py'

num_points = 400

model = dict(
    backbone=dict(
        depth=18,
        base_channels=24,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        # Residual branches that begin at zero would need more steps than this training has.
        zero_init_residual=False,
        init_cfg=None,
    ),
    panoptic_head=dict(
        embed_dims=64,
        # Without it, the first of few steps would only teach that most queries are no object.
        prior_prob=0.01,
        pixel_decoder=dict(
            in_channels=[24, 48, 96, 192], num_levels=3, num_layers=1, feedforward_channels=256
        ),
        # In a short training, masks are learned sooner than boxes: boxes start from the exact extent of the masks,
        # but without pixels far from the predicted boxes, which such masks still have.
        queries=dict(
            num_queries=60, anchor_sizes=[0.1, 0.2, 0.4], pixel_exact=True, mask_window=2.0
        ),
        decoder=dict(num_layers=3, feedforward_channels=256),
        # Masks are learned soon, but classes are hard: denoising labels are random, and the class loss is heavy.
        denoising=dict(num_queries=60, flip_prob=1.0),
        criterion=dict(
            loss_cls=dict(loss_weight=10.0),
            matcher=dict(num_points=num_points),
            point_sampler=dict(num_points=num_points),
        ),
    ),
    # After a short training, masks have stray pixels, boxes are less exact than masks, and some objects are found
    # twice. Where box and mask agree, both are better.
    test_cfg=dict(
        max_per_image=60, mask_window=1.5, mean_boxes=True, agreement_scores=True, nms_iou=0.7
    ),
)
