# MMSegmentation's FCN with the same backbone, dilated as usual to a stride of 8.
_base_ = './semantic.py'

head = dict(
    type='FCNHead',
    num_classes=8,
    dropout_ratio=0.1,
    norm_cfg=dict(type='BN', requires_grad=True),
)
loss = dict(type='CrossEntropyLoss', use_sigmoid=False)

model = dict(
    backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    decode_head=dict(
        head,
        _delete_=True,
        in_channels=192,
        in_index=3,
        channels=64,
        num_convs=2,
        concat_input=True,
        loss_decode=dict(loss, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        head,
        _delete_=True,
        in_channels=96,
        in_index=2,
        channels=32,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(loss, loss_weight=0.4),
    ),
    test_cfg=dict(_delete_=True, mode='whole'),
)
# its own: SGD, and a gradient that is not clipped
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
)
