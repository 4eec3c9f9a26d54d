# The decoder starts from the boxes that the encoder predicts, not from the boxes of its masks.
_base_ = './full.py'
model = dict(panoptic_head=dict(queries=dict(boxes_from_masks=False)))
