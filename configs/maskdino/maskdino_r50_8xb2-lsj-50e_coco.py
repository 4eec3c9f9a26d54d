# Published: box AP 51.7, mask AP 46.3 on COCO val2017 (52M parameters, 286 GFLOPs).
_base_ = [
    '../_base_/models/maskdino_r50.py',
    '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]
