# Swin-B, windows of 12, pre-trained at 384 pixels. The config that inherits it adds the pre-trained weights.
backbone = dict(
    type='SwinTransformer',
    pretrain_img_size=384,
    embed_dims=128,
    depths=[2, 2, 18, 2],
    num_heads=[4, 8, 16, 32],
    window_size=12,
    drop_path_rate=0.3,
)
