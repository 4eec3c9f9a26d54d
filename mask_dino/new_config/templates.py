"""Parts of the text of a new config, to be filled in with `str.format`."""

HEADER = """# {summary}
# Written by tools/misc/new_config.py. Every number here is a start value that you can change.
_base_ = {base!r}  # the network
{load_from}
data_root = {data_root!r}
{classes}
# Width and height in pixels, in training and testing. Images are resized to fit into it.
# {size_comment}
image_size = {recipe.image_size}
# Halve it if the memory is not enough.
batch_size = {recipe.batch_size}
# Each training image is seen about {recipe.epochs} times. Use more steps if the last validations still improve.
max_iters = {recipe.max_iters}
# Steps between two validations, each with a checkpoint.
interval = {recipe.interval}
"""
FOOTER = """
train_cfg = dict(max_iters=max_iters, val_interval=interval)
# For batches of {recipe.batch_size} images. With n times the batch, multiply it by the square root of n.
optim_wrapper = dict(optimizer=dict(lr={recipe.lr}))
auto_scale_lr = dict(enable=False, base_batch_size=batch_size)
param_scheduler = [
    # The learning rate rises during the first steps, because new layers start from random weights.
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end={recipe.warmup}),
    # It drops to a tenth for the last steps.
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[{recipe.milestone}],
        gamma=0.1,
    ),
]
default_hooks = dict(
    logger=dict(interval={recipe.log_interval}),
    # Two checkpoints are kept: the last one, and the best one in validation.
    checkpoint=dict(interval=interval, max_keep_ckpts=1, save_best={metric!r}, rule='greater'),
)
custom_hooks = [
    dict(type='ProgressHook'),
    # Training ends if {patience} validations in a row bring no improvement.
    dict(
        type='EarlyStoppingHook',
        monitor={metric!r},
        rule='greater',
        min_delta=0.001,
        patience={patience},
    ),
]
"""
INSTANCE_MODEL = """
model = dict(
    panoptic_head=dict(num_things_classes=num_classes),
    panoptic_fusion_head=dict(num_things_classes=num_classes),
)
"""
PANOPTIC_MODEL = """
num_things_classes, num_stuff_classes = len(thing_classes), len(stuff_classes)
model = dict(
    panoptic_head=dict(
        num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
    ),
    panoptic_fusion_head=dict(
        num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
    ),
)
"""
SEMANTIC_MODEL = """
model = dict(
    data_preprocessor=dict(size=image_size[::-1]),  # height, width
    decode_head=dict(
        num_classes=num_classes,
        # The weight of each class in the class loss, and the weight of "no object".
        criterion=dict(loss_cls=dict(class_weight=[1.0] * num_classes + [0.1])),
    ),{auxiliary}
)
"""
AUXILIARY = """
    # Only in training: this head classifies pixels, which teaches the backbone the classes.
    auxiliary_head=dict(num_classes=num_classes),"""
DETECTION_PIPELINES = """
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict({load_annotations}),
    # Remove this line if left and right differ, as in text. For views from above, add
    # direction=['horizontal', 'vertical', 'diagonal'] and prob=[0.25, 0.25, 0.25].
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size, recompute_bbox=True, allow_negative_crop=True),
    # Images without objects are kept: they teach what is no object.
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), by_mask=True, keep_empty=False),
    # The colour is the mean of ImageNet in BGR.
    dict(type='Pad', size=image_size, pad_val=dict(img=(104, 116, 124), masks=0, seg=255)),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict({load_annotations}),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
"""
SEMANTIC_PIPELINES = """
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLabelMap'),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size[::-1]),  # height, width
    # Remove this line if left and right differ, as in text.
    dict(type='RandomFlip', prob=0.5),
    # It changes brightness and colours. Remove it if a class is known by its colour only.
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    # The label map keeps its size, so it is loaded after Resize.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
# For tools/test.py --tta: the image and its mirror image.
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=image_size, keep_ratio=True)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
"""
TRAIN_LOADER = """
train_dataloader = dict(
    batch_size=batch_size,
    num_workers={num_workers},
    dataset=dict(
        _delete_=True,
        type={dataset_type!r},
        data_root=data_root,
        metainfo=metainfo,
{files}
        pipeline=train_pipeline,
    ),
)
"""
TEST_LOADER = """
{split}_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type={dataset_type!r},
        data_root=data_root,
        metainfo=metainfo,
{files}
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
"""
INSTANCE_EVALUATOR = """
{split}_evaluator = dict(
    _delete_=True,
    type='CompleteCocoMetric',
    ann_file=data_root + {ann_file!r},
    metric=['bbox', 'segm'],
)
"""
PANOPTIC_EVALUATOR = """
{split}_files = dict(
    ann_file=data_root + {ann_file!r},
    seg_prefix=data_root + {seg_prefix!r},
)
{split}_evaluator = [
    dict(type='PanopticQualityMetric', **{split}_files),
    # Boxes and masks of things, semantic maps, and masks of stuff.
    dict(type='ThingAPMetric', metric=['bbox', 'segm'], **{split}_files),
    dict(type='PanopticIoUMetric', **{split}_files),
    dict(type='StuffAPMetric', metric=['segm'], **{split}_files),
]
"""
TEST_IS_VAL = """
test_dataloader = val_dataloader
"""
TEST_EVALUATOR_IS_VAL = """test_evaluator = val_evaluator
"""
