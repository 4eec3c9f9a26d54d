# The R50 model with the textbook criterion of tests/helpers/dense.py. To run it, set PYTHONPATH=tests.
_base_ = '../../../configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco.py'
custom_imports = dict(imports=['mask_dino.det', 'helpers.dense'], allow_failed_imports=False)
model = dict(panoptic_head=dict(criterion=dict(type='DenseCriterion')))
