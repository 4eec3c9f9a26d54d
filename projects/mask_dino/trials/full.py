# Mask DINO as it is.
_base_ = '../../../configs/maskdino/maskdino_tiny_shapes.py'
custom_imports = dict(imports=['mask_dino.det', 'variants'], allow_failed_imports=False)
