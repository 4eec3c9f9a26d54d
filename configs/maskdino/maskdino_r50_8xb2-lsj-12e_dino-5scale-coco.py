# From a detector: DINO with R50 and 5 scales, converted by tools/model_converters/dino_to_maskdino.py.
_base_ = './maskdino_r50_8xb2-lsj-12e_dino-coco.py'

model = dict(
    panoptic_head=dict(
        pixel_decoder=dict(num_levels=5, first_level=0),
        queries=dict(anchor_sizes=[0.05, 0.1, 0.2, 0.4, 0.8]),
    ),
)
