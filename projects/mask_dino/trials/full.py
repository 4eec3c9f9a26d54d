# Mask DINO as in the paper.
_base_ = '../../../configs/maskdino/maskdino_tiny_shapes.py'
custom_imports = dict(imports=['mask_dino.det', 'variants'], allow_failed_imports=False)
model = dict(panoptic_head=dict(queries=dict(mask_window=None)))
