# Cityscapes things and stuff: panoptic maps, made by createPanopticImgs.py of cityscapesscripts
_base_ = './panoptic_loaders.py'

dataset_type = 'CityscapesPanopticDataset'
data_root = 'data/cityscapes/'
crop_size = (1024, 512)  # width, height

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadCocoPanopticAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoiceResize',
        resize_type='Resize',
        scales=[(4096, int(1024 * factor / 10)) for factor in range(5, 21)],
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
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
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
        ann_file='gtFine/cityscapes_panoptic_train.json',
        data_prefix=dict(img='leftImg8bit/train/', seg='gtFine/cityscapes_panoptic_train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='gtFine/cityscapes_panoptic_val.json',
        data_prefix=dict(img='leftImg8bit/val/', seg='gtFine/cityscapes_panoptic_val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

panoptic_truth = dict(
    ann_file=data_root + 'gtFine/cityscapes_panoptic_val.json',
    seg_prefix=data_root + 'gtFine/cityscapes_panoptic_val/',
)
val_evaluator = [
    dict(type='PanopticQualityMetric', **panoptic_truth),
    # Boxes and masks of things.
    dict(type='ThingAPMetric', metric=['bbox', 'segm'], **panoptic_truth),
    dict(type='PanopticIoUMetric', **panoptic_truth),
    # Masks of stuff. It needs model.test_cfg.stuff_on.
    dict(type='StuffAPMetric', metric=['segm'], **panoptic_truth),
]
test_evaluator = val_evaluator
