# Published: box AP 50.5, mask AP 46.0 on COCO val2017.
_base_ = './maskdino_r50_8xb2-lsj-50e_coco.py'

model = dict(panoptic_head=dict(queries=dict(boxes_from_masks=False)))
