"""A tiny segmentor of MMSegmentation; the environment variable DATA says where its data are."""

default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.0] * 3,
        std=[64.0] * 3,
        size=(64, 64),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=8,
        stem_channels=8,
        norm_cfg=dict(type='BN'),
        norm_eval=True,
    ),
    decode_head=dict(
        type='FCNHead',
        num_convs=1,
        in_channels=64,
        in_index=3,
        channels=8,
        num_classes=3,
        norm_cfg=dict(type='BN'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
load = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64)),
    dict(type='LoadAnnotations'),
]
dataset = dict(
    type='BaseSegDataset',
    data_root='{{$DATA:}}',
    data_prefix=dict(img_path='images', seg_map_path='semantic'),
    metainfo=dict(classes=('ground', 'box', 'disc'), palette=[(0, 0, 0), (255, 0, 0), (0, 255, 0)]),
    img_suffix='.png',
    pipeline=[*load, dict(type='PackSegInputs')],
)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), dataset=dataset
)
test_dataloader = val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset
)
test_evaluator = val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
val_cfg = test_cfg = dict()
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.001))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
)
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    load[0],
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=s, keep_ratio=True) for s in (0.5, 1.0)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [load[2]],
            [dict(type='PackSegInputs')],
        ],
    ),
]
