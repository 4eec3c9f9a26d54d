# Published: mIoU 79.8 (mean of three runs), 80.0 (best) on Cityscapes val.
_base_ = [
    '../_base_/models/maskdino_r50_semantic.py',
    '../_base_/datasets/cityscapes_semantic.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/seg_runtime.py',
]

num_classes = 19

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    # Needs a GPU or several processes; on one CPU: norm_cfg=dict(type='BN').
    backbone=dict(norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False),
    decode_head=dict(
        num_classes=num_classes,
        criterion=dict(loss_cls=dict(class_weight=[1.0] * num_classes + [0.1])),
    ),
)

max_iters = 90000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[80000, 87000],
        gamma=0.1,
    ),
]
