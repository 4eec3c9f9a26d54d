# Published: PQ 51.5 on COCO val2017.
_base_ = './maskdino_r50_8xb2-lsj-50e_coco-panoptic.py'

# 24 epochs of 118,287 images in batches of 16; the learning rate drops after 20.
max_iters = 177430
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(
        type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[147859], gamma=0.1
    ),
]
