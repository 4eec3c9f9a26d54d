# Predictions are matched with objects by class and box.
_base_ = './full.py'
class_cost = dict(type='FocalLossCost', weight=4.0, eps=1e-8)
model = dict(
    panoptic_head=dict(criterion=dict(matcher=dict(num_points=0, match_costs=[class_cost])))
)
