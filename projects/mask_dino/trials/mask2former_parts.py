# Parts of the small Mask2Former that MMDetection and MMSegmentation share. The sizes are those of maskdino_tiny.py.
embed_dims = 64
num_levels = 3

positional_encoding = dict(num_feats=embed_dims // 2, normalize=True)
attention = dict(embed_dims=embed_dims, num_heads=8, dropout=0.0, batch_first=True)
ffn = dict(
    embed_dims=embed_dims,
    feedforward_channels=256,
    num_fcs=2,
    ffn_drop=0.0,
    act_cfg=dict(type='ReLU', inplace=True),
)

pixel_decoder = dict(
    type='mmdet.MSDeformAttnPixelDecoder',
    num_outs=num_levels,
    norm_cfg=dict(type='GN', num_groups=32),
    act_cfg=dict(type='ReLU'),
    encoder=dict(
        num_layers=1,
        layer_cfg=dict(
            self_attn_cfg=dict(attention, num_levels=num_levels, num_points=4), ffn_cfg=ffn
        ),
    ),
    positional_encoding=positional_encoding,
)
transformer_decoder = dict(
    return_intermediate=True,
    num_layers=3,
    layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
    init_cfg=None,
)
loss_mask = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='mean', loss_weight=5.0)
loss_dice = dict(
    type='mmdet.DiceLoss',
    use_sigmoid=True,
    activate=True,
    reduction='mean',
    naive_dice=True,
    eps=1.0,
    loss_weight=5.0,
)
matching = dict(
    num_points=400,
    oversample_ratio=3.0,
    importance_sample_ratio=0.75,
    assigner=dict(
        type='mmdet.HungarianAssigner',
        match_costs=[
            dict(type='mmdet.ClassificationCost', weight=2.0),
            dict(type='mmdet.CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
            dict(type='mmdet.DiceCost', weight=5.0, pred_act=True, eps=1.0),
        ],
    ),
    sampler=dict(type='mmdet.MaskPseudoSampler'),
)
