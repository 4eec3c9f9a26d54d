# Nothing is published: the model of COCO panoptic with the schedule of ADE20K semantic segmentation.
_base_ = [
    '../_base_/models/maskdino_r50.py',
    '../_base_/datasets/ade20k_panoptic.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]

num_things_classes = 100
num_stuff_classes = 50

model = dict(
    data_preprocessor=dict(pad_seg=True, seg_pad_value=255),
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        queries=dict(boxes_from_masks=False),
        criterion=dict(decouple_stuff=True),
    ),
    panoptic_fusion_head=dict(
        num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
    ),
    test_cfg=dict(panoptic_on=True, semantic_on=True, stuff_on=True),
)

max_iters = 160000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[135000, 150000],
        gamma=0.1,
    ),
]
