# Published: PQ 59.4 on COCO val2017, 59.5 on test-dev; from a detector of Objects365.
_base_ = './maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-50e_coco-panoptic.py'

from mask_dino.image_size import set_image_size  # noqa: E402

set_image_size(_base_, (1280, 1280))

# Trained with `maskdino_swin-l-p4-w12-384-in22k_16xb1-26e_o365-detection.py`.
load_from = 'checkpoints/maskdino_swin-l_o365-detection.pth'

# 24 epochs of 118,287 images in batches of 16; the learning rate drops after 20.
max_iters = 177430
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(
        type='MultiStepLR', begin=0, end=max_iters, by_epoch=False, milestones=[147859], gamma=0.1
    ),
]
