# From a detector: DINO with Swin-L and 5 scales, converted by tools/model_converters/dino_to_maskdino.py.
_base_ = ['./maskdino_r50_8xb2-lsj-12e_dino-5scale-coco.py', '../_base_/backbones/swin_l.py']

model = dict(
    # The checkpoint of the detector contains its weights.
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(pixel_decoder=dict(in_channels=[192, 384, 768, 1536])),
)

train_dataloader = dict(batch_size=1)
