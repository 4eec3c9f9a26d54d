# Nothing is published: another data set of MMSegmentation under the model and the training of ADE20K.
_base_ = './maskdino_r50_8xb2-160k_ade20k-512x512.py'

num_classes = 171

model = dict(
    decode_head=dict(
        num_classes=num_classes,
        criterion=dict(loss_cls=dict(class_weight=[1.0] * num_classes + [0.1])),
    ),
)

dataset_type = 'COCOStuffDataset'
data_root = 'data/coco_stuff164k/'
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/train2017', seg_map_path='annotations/train2017'),
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
    )
)
test_dataloader = val_dataloader

max_iters = 80000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(
        type='MultiStepLR',
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[67500, 75000],
        gamma=0.1,
    ),
]
