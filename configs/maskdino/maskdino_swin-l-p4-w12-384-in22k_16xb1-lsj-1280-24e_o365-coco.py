# Published: mask AP 54.5 on COCO val2017, 54.7 on test-dev; from a detector of Objects365.
_base_ = './maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-50e_coco.py'

# What `maskdino_swin-l-p4-w12-384-in22k_16xb1-26e_o365-detection.py` trains.
load_from = 'checkpoints/maskdino_swin-l_o365-detection.pth'

image_size = (1280, 1280)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), resize_type='Resize', keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size, crop_type='absolute', recompute_bbox=True, allow_negative_crop=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True, keep_empty=False),
    dict(type='Pad', size=image_size, pad_val=dict(img=(128, 128, 128), masks=0, seg=255)),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# 24 and 20 epochs of 118,287 images in batches of 16
max_iters = 177430
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[147859], gamma=0.1),
]
