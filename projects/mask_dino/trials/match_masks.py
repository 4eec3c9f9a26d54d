# Predictions are matched with objects by class and mask.
_base_ = './full.py'
model = dict(panoptic_head=dict(criterion=dict(matcher=dict(box_costs=[]))))
