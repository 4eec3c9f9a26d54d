# The R50 model with the textbook criterion and mmcv's sampling for CPUs: PYTHONPATH=tests is needed.
_base_ = './dense_r50.py'
custom_imports = dict(imports=['mask_dino.det', 'dense', 'textbook'], allow_failed_imports=False)
model = dict(panoptic_head=dict(type='TextbookHead'))
