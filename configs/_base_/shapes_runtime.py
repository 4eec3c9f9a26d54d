# Prints the progress of a training, for somebody who watches it.
_base_ = './default_runtime.py'

default_hooks = dict(checkpoint=dict(interval=200, max_keep_ckpts=1))
custom_hooks = [dict(type='ProgressHook')]
