# Published: box AP 58.3, mask AP 52.1 on COCO val2017.
_base_ = './maskdino_swin-l-p4-w12-384-in22k_16xb1-lsj-50e_coco.py'

model = dict(panoptic_head=dict(queries=dict(boxes_from_masks=False)))
