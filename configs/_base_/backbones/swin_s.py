# Swin-S, windows of 7. The config that inherits it adds the pre-trained weights.
backbone = dict(
    type='SwinTransformer',
    embed_dims=96,
    depths=[2, 2, 18, 2],
    num_heads=[3, 6, 12, 24],
    window_size=7,
    drop_path_rate=0.3,
)
