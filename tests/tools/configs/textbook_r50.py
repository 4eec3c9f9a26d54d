# The R50 model of stock parts with the textbook criterion. To run it, set PYTHONPATH=tests.
_base_ = './dense_r50.py'
custom_imports = dict(
    imports=['mask_dino.det', 'helpers.dense', 'helpers.textbook'], allow_failed_imports=False
)
model = dict(
    backbone=dict(norm_cfg=dict(type='BN', requires_grad=False)),
    panoptic_head=dict(type='TextbookHead'),
)
