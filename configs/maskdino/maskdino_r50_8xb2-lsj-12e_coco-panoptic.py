# Published: PQ 49.0 on COCO val2017.
_base_ = './maskdino_r50_8xb2-lsj-50e_coco-panoptic.py'

# 12 epochs of 118,287 images in batches of 16; the learning rate drops after 11.
max_iters = 88715
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[81322], gamma=0.1),
]
