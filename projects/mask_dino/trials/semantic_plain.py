# Without the auxiliary head, which Mask2Former does not have either.
_base_ = './semantic.py'
model = dict(auxiliary_head=None)
