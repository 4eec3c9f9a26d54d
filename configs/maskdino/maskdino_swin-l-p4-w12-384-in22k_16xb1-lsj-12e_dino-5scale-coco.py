# From a detector: DINO with Swin-L and 5 scales, converted by tools/model_converters/dino_to_maskdino.py.
_base_ = './maskdino_r50_8xb2-lsj-12e_dino-5scale-coco.py'

model = dict(
    # Its weights come with the detector.
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        pretrain_img_size=384,
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
    ),
    panoptic_head=dict(pixel_decoder=dict(in_channels=[192, 384, 768, 1536])),
)

train_dataloader = dict(batch_size=1)
