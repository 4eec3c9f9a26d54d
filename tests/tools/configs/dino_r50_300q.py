# mmdet's DINO with as many queries and decoder layers as Mask DINO has, to be timed beside it.
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
model = dict(num_queries=300, decoder=dict(num_layers=9))
