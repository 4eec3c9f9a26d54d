# The boxes from which the decoder starts leave out stray pixels of their masks, as in the demo.
_base_ = './full.py'
model = dict(panoptic_head=dict(queries=dict(mask_window=2.0)))
