# Only detection: pre-training for COCO at 1280 pixels and for ADE20K. DINO published 26 epochs, but no learning rates.
_base_ = [
    '../_base_/models/maskdino_swin-l.py',
    '../_base_/datasets/objects365_detection.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]

num_things_classes = 365

model = dict(
    data_preprocessor=dict(pad_mask=False),
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        queries=dict(boxes_from_masks=False),
        # The data has only boxes, so nothing trains the mask branch.
        criterion=dict(
            loss_mask=None,
            loss_dice=None,
            matcher=dict(
                num_points=0, match_costs=[dict(type='FocalLossCost', weight=4.0, eps=1e-8)]
            ),
        ),
    ),
    panoptic_fusion_head=dict(num_things_classes=num_things_classes),
)

train_dataloader = dict(batch_size=1)

# 26 epochs of 1,742,289 images in batches of 16; the learning rate drops after 24.
max_iters = 2831220
train_cfg = dict(max_iters=max_iters, val_interval=100000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(
        type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[2613434], gamma=0.1
    ),
]
