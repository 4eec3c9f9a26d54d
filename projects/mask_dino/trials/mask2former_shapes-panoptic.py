# MMDetection's Mask2Former on things and stuff of Shapes, to be compared with maskdino_tiny_shapes-panoptic.py.
_base_ = ['./mask2former_tiny.py', '../../../configs/_base_/datasets/shapes_panoptic.py']

num_things_classes = 5
num_stuff_classes = 3

model = dict(
    data_preprocessor=dict(pad_seg=True, seg_pad_value=255),
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        loss_cls=dict(class_weight=[1.0] * (num_things_classes + num_stuff_classes) + [0.1]),
    ),
    panoptic_fusion_head=dict(
        num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
    ),
    test_cfg=dict(panoptic_on=True),
)

# Mask2Former of MMDetection has neither semantic results nor instances of stuff.
panoptic_truth = dict(
    ann_file='data/shapes/annotations/panoptic_val.json', seg_prefix='data/shapes/panoptic_val/'
)
val_evaluator = [
    dict(type='PanopticQualityMetric', **panoptic_truth),
    dict(
        type='CompleteCocoMetric',
        ann_file='data/shapes/annotations/instances_val.json',
        metric=['bbox', 'segm'],
    ),
]
test_evaluator = val_evaluator
