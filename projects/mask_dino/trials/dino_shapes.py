# MMDetection's DINO, on boxes.
_base_ = '../from_dino/dino_shapes.py'
custom_imports = dict(imports=['mask_dino.det', 'variants'], allow_failed_imports=False)
