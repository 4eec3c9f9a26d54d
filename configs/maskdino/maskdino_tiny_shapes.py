# Instances of Shapes, learned from scratch on a CPU in minutes.
_base_ = [
    '../_base_/models/maskdino_tiny.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/shapes_runtime.py',
    '../_base_/schedules/shapes.py',
]

num_things_classes = 5

model = dict(
    panoptic_head=dict(num_things_classes=num_things_classes),
    panoptic_fusion_head=dict(num_things_classes=num_things_classes),
)
# With the same number of images, twice as many steps of half the size learn more.
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=4)
