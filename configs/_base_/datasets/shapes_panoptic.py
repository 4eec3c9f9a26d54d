# Shapes, made by `python tools/dataset_converters/make_shapes.py data/shapes`
_base_ = './panoptic_loaders.py'

dataset_type = 'CheckedCocoPanopticDataset'
data_root = 'data/shapes/'
# Width and height in training and testing. Images are resized to fit; set_image_size changes all places.
image_size = (128, 128)
thing_classes = ('ellipse', 'rectangle', 'triangle', 'star', 'ring')
stuff_classes = ('sky', 'ground', 'water')
metainfo = dict(
    classes=thing_classes + stuff_classes,
    thing_classes=thing_classes,
    stuff_classes=stuff_classes,
    palette=[
        (230, 57, 70),
        (255, 183, 3),
        (6, 167, 125),
        (157, 78, 221),
        (255, 112, 166),
        (142, 202, 230),
        (188, 138, 95),
        (33, 104, 181),
    ],
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadCocoPanopticAnnotations'),
    # In a training as short as that of `make demo`, other scales and vertical flips cost more than they teach.
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    # Images without objects are kept: they teach what is no object.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), by_mask=True, keep_empty=False),
    # The mean colour of ImageNet in BGR, which is about 0 after normalisation.
    dict(type='Pad', size=image_size, pad_val=dict(img=(104, 116, 124), masks=0, seg=255)),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadCocoPanopticAnnotations'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/panoptic_train.json',
        data_prefix=dict(img='train/', seg='panoptic_train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/panoptic_val.json',
        data_prefix=dict(img='val/', seg='panoptic_val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

panoptic_truth = dict(
    ann_file=data_root + 'annotations/panoptic_val.json',
    seg_prefix=data_root + 'panoptic_val/',
)
val_evaluator = [
    dict(type='PanopticQualityMetric', **panoptic_truth),
    # Boxes and masks of things.
    dict(
        type='CompleteCocoMetric',
        ann_file=data_root + 'annotations/instances_val.json',
        metric=['bbox', 'segm'],
    ),
    dict(type='PanopticIoUMetric', **panoptic_truth),
    # Masks of stuff. It needs model.test_cfg.stuff_on.
    dict(type='StuffAPMetric', metric=['segm'], **panoptic_truth),
]
test_evaluator = val_evaluator
