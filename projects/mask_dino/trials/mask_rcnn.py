# MMDetection's Mask R-CNN with a backbone, channels and anchors for images of 128 pixels.
_base_ = [
    './tiny_backbone.py',
    '../../../configs/_base_/datasets/shapes_instance.py',
    '../../../configs/_base_/shapes_runtime.py',
    '../../../configs/_base_/schedules/shapes.py',
]
custom_imports = dict(imports=['mask_dino.det', 'variants'], allow_failed_imports=False)

channels = 64
num_classes = 5
box_coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4)
roi = dict(type='SingleRoIExtractor', out_channels=channels, featmap_strides=[4, 8, 16, 32])
sampler = dict(type='RandomSampler', neg_pos_ub=-1)
assigner = dict(type='MaxIoUAssigner', ignore_iof_thr=-1)
nms = dict(type='nms', iou_threshold=0.7)

model = dict(
    type='MaskRCNN',
    neck=dict(type='FPN', in_channels=[24, 48, 96, 192], out_channels=channels, num_outs=5),
    rpn_head=dict(
        type='RPNHead',
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[3],
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        bbox_coder=dict(box_coder, target_stds=[1.0] * 4),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0),
    ),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            roi, roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0), finest_scale=14
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=channels,
            fc_out_channels=256,
            roi_feat_size=7,
            num_classes=num_classes,
            bbox_coder=dict(box_coder, target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type='CrossEntropyLoss', loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
        mask_roi_extractor=dict(
            roi, roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0), finest_scale=14
        ),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=4,
            in_channels=channels,
            conv_out_channels=channels,
            num_classes=num_classes,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(assigner, pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(sampler, num=256, pos_fraction=0.5, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(nms_pre=500, max_per_img=200, nms=nms, min_bbox_size=0),
        rcnn=dict(
            assigner=dict(assigner, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
            sampler=dict(sampler, num=64, pos_fraction=0.25, add_gt_as_proposals=True),
            mask_size=28,
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=500, max_per_img=200, nms=nms, min_bbox_size=0),
        rcnn=dict(
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=100,
            mask_thr_binary=0.5,
        ),
    ),
)
# its own: SGD, and a gradient that is not clipped
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)
