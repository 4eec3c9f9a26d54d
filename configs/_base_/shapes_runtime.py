# For trainings that somebody watches.
_base_ = './default_runtime.py'

default_hooks = dict(checkpoint=dict(interval=200, max_keep_ckpts=1))
custom_hooks = [dict(type='ProgressHook')]
