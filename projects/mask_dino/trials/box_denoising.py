# Denoising queries learn classes and boxes, but no masks.
_base_ = './full.py'
model = dict(panoptic_head=dict(criterion=dict(type='BoxDenoisingCriterion')))
