# Nothing is published: three encoder levels, as in the original's configuration of `hid1024`. The name of its released
# file says four levels. The converter selects the config that fits the file.
_base_ = './maskdino_r50_8xb2-lsj-50e_hid1024_coco.py'

model = dict(
    panoptic_head=dict(
        pixel_decoder=dict(num_levels=3), queries=dict(anchor_sizes=[0.05, 0.1, 0.2])
    ),
)
