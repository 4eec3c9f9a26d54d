# The R50 model of stock parts with the textbook criterion: PYTHONPATH=tests is needed.
_base_ = './dense_r50.py'
custom_imports = dict(imports=['mask_dino.det', 'dense', 'textbook'], allow_failed_imports=False)
model = dict(backbone=dict(norm_cfg=dict(type='BN', requires_grad=False)), panoptic_head=dict(type='TextbookHead'))
