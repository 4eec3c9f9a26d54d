"""A tiny detector of MMDetection; the environment variable DATA says where its data are."""

default_scope = 'mmdet'
preprocessor = dict(
    type='DetDataPreprocessor', mean=[127.0] * 3, std=[64.0] * 3, pad_size_divisor=32
)
model = dict(
    type='FCOS',
    data_preprocessor=preprocessor,
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=8,
        stem_channels=8,
        out_indices=(2, 3),
        norm_eval=True,
    ),
    neck=dict(type='FPN', in_channels=[32, 64], out_channels=8, num_outs=2),
    bbox_head=dict(
        type='FCOSHead',
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=[16, 32],
        regress_ranges=((-1, 64), (64, 100000)),
        norm_cfg=None,
    ),
    test_cfg=dict(
        nms_pre=50, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.6), max_per_img=5
    ),
)
load = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64)),
    dict(type='LoadAnnotations', with_bbox=True),
]
meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
dataset = dict(
    type='CocoDataset',
    ann_file='coco.json',
    data_prefix=dict(img='images/'),
    metainfo=dict(classes=('box', 'disc')),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset,
        data_root='{{$DATA:}}',
        pipeline=[*load, dict(type='PackDetInputs', meta_keys=meta)],
    ),
)
test_dataloader = val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        data_root='{{$DATA:}}',
        test_mode=True,
        pipeline=[*load, dict(type='PackDetInputs', meta_keys=meta)],
    ),
)
test_evaluator = val_evaluator = dict(
    type='CocoMetric', ann_file='{{$DATA:}}/coco.json', metric='bbox'
)
val_cfg = test_cfg = dict()
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.001))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', save_best='auto'),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
tta_model = dict(
    type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=3)
)
tta_pipeline = [
    load[0],
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(64, 64))],
            [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
            [load[2]],
            [dict(type='PackDetInputs', meta_keys=(*meta, 'flip', 'flip_direction'))],
        ],
    ),
]
