# Swin-L, windows of 12, pre-trained at 384 pixels. The config that inherits it adds the pre-trained weights.
backbone = dict(
    type='SwinTransformer',
    pretrain_img_size=384,
    embed_dims=192,
    depths=[2, 2, 18, 2],
    num_heads=[6, 12, 24, 48],
    window_size=12,
    drop_path_rate=0.3,
    out_indices=(0, 1, 2, 3),
)
