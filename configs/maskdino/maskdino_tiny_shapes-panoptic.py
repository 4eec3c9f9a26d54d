# Things and stuff of Shapes, learned from scratch on a CPU in minutes (`make demo`).
_base_ = [
    '../_base_/models/maskdino_tiny.py',
    '../_base_/datasets/shapes_panoptic.py',
    '../_base_/shapes_runtime.py',
    '../_base_/schedules/shapes.py',
]

num_things_classes = 5
num_stuff_classes = 3

model = dict(
    data_preprocessor=dict(pad_seg=True, seg_pad_value=255),
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        # Masks of stuff are large and learned soon; they would take much of a short training.
        criterion=dict(decouple_stuff=True, stuff_weight=0.5),
    ),
    panoptic_fusion_head=dict(
        num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
    ),
    test_cfg=dict(panoptic_on=True, semantic_on=True, stuff_on=True, rank_things_alone=True),
)
# With the same number of images, twice as many steps of half the size learn more.
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=4)
