# Published: mIoU 59.5, 60.8 with test-time augmentation (--tta) on ADE20K val; from a detector of Objects365, with EMA.
_base_ = [
    '../_base_/models/maskdino_r50_semantic.py',
    '../_base_/backbones/swin_l.py',
    '../_base_/datasets/ade20k_semantic.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/seg_runtime.py',
]

# Trained with `maskdino_swin-l-p4-w12-384-in22k_16xb1-26e_o365-detection.py`.
load_from = 'checkpoints/maskdino_swin-l_o365-detection.pth'
crop_size = (640, 640)

model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(_delete_=True, **_base_.backbone),
    decode_head=dict(
        pixel_decoder=dict(
            in_channels=[192, 384, 768, 1536],
            num_levels=5,
            first_level=0,
            feedforward_channels=2048,
        ),
        queries=dict(num_queries=900),
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLabelMap'),
    dict(
        type='RandomChoiceResize',
        scales=[int(640 * factor / 10) for factor in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=2560,
    ),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='ResizeShortestEdge', scale=side, max_size=4480)
                for side in (320, 480, 640, 800, 960, 1120)
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

custom_hooks = [
    dict(type='EMAHook', ema_type='mmdet.ExpMomentumEMA', momentum=0.0002, update_buffers=True)
]
