# Published: box AP 51.5, mask AP 46.1 on COCO val2017 (47M parameters, 226 GFLOPs).
_base_ = './maskdino_r50_8xb2-lsj-50e_coco.py'

model = dict(
    panoptic_head=dict(
        pixel_decoder=dict(feedforward_channels=1024), queries=dict(pixel_exact=True)
    ),
)
