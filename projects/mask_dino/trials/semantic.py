# The small Mask DINO for semantic segmentation.
_base_ = '../../../configs/maskdino/maskdino_tiny_shapes-semantic.py'
custom_imports = dict(imports=['mask_dino.seg', 'variants'], allow_failed_imports=False)
