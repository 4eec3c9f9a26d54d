# Published: box AP 59.0, mask AP 52.3 on COCO val2017 (223M parameters, 1326 GFLOPs).
_base_ = [
    '../_base_/models/maskdino_swin-l.py',
    '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=1)
