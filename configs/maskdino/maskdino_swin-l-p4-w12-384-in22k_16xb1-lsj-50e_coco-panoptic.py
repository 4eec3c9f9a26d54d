# Published: PQ 58.3 (things 65.1, stuff 48.0), box AP 56.2, mask AP 50.6, mIoU 67.5 on COCO val2017.
_base_ = [
    '../_base_/models/maskdino_swin-l.py',
    '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]

num_things_classes = 80
num_stuff_classes = 53

model = dict(
    data_preprocessor=dict(pad_seg=True, seg_pad_value=255),
    panoptic_head=dict(
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        queries=dict(boxes_from_masks=False),
        criterion=dict(decouple_stuff=True),
    ),
    panoptic_fusion_head=dict(
        num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes
    ),
    test_cfg=dict(panoptic_on=True, semantic_on=True, stuff_on=True),
)

train_dataloader = dict(batch_size=1)
