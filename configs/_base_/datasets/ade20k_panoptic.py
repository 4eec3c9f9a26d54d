# ADE20K things and stuff: panoptic maps, made by MMDetection's tools/dataset_converters/ade20k2coco.py --task panoptic
_base_ = './panoptic_loaders.py'

dataset_type = 'CheckedADE20KPanopticDataset'
data_root = 'data/ADEChallengeData2016/'
crop_size = (640, 640)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadCocoPanopticAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoiceResize',
        resize_type='Resize',
        scales=[(2560, int(640 * factor / 10)) for factor in range(5, 21)],
        keep_ratio=True,
    ),
    dict(
        type='RandomCrop',
        crop_size=crop_size,
        crop_type='absolute',
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True, keep_empty=False),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(128, 128, 128), masks=0, seg=255)),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    dict(type='LoadCocoPanopticAnnotations'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ade20k_panoptic_train.json',
        data_prefix=dict(img='images/training/', seg='ade20k_panoptic_train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ade20k_panoptic_val.json',
        data_prefix=dict(img='images/validation/', seg='ade20k_panoptic_val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

panoptic_truth = dict(
    ann_file=data_root + 'ade20k_panoptic_val.json',
    seg_prefix=data_root + 'ade20k_panoptic_val/',
)
val_evaluator = [
    dict(type='PanopticQualityMetric', **panoptic_truth),
    # Boxes and masks of things. The file of instances that the tool writes has other class names.
    dict(type='ThingAPMetric', metric=['bbox', 'segm'], **panoptic_truth),
    dict(type='PanopticIoUMetric', **panoptic_truth),
    # Masks of stuff. It needs model.test_cfg.stuff_on.
    dict(type='StuffAPMetric', metric=['segm'], **panoptic_truth),
]
test_evaluator = val_evaluator
