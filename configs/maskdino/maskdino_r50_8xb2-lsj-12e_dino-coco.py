# From a detector: DINO of MMDetection (R50, 4 scales), converted by tools/model_converters/dino_to_maskdino.py.
_base_ = './maskdino_r50_8xb2-lsj-12e_coco.py'

load_from = 'checkpoints/maskdino_from_dino.pth'

model = dict(
    panoptic_head=dict(
        # The settings of DINO, so that the model detects as DINO does from the start.
        pixel_decoder=dict(temperature=20),
        queries=dict(
            num_queries=900,
            anchor_sizes=[0.05, 0.1, 0.2, 0.4],
            boxes_from_masks=False,
            learned_content=True,
            separate_branches=True,
        ),
        decoder=dict(num_layers=6, separate_box_branches=True, normalise_content_once=True),
    ),
    test_cfg=dict(max_per_image=100),
)
