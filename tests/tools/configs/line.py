"""The least that trains and tests; its checkpoints hold all that mmengine's can."""

custom_imports = dict(imports=['helpers.line'], allow_failed_imports=False)
model = dict(type='Line')
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='Points'),
)
test_dataloader = val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='Points'),
)
test_evaluator = val_evaluator = dict(type='Height')
val_cfg = test_cfg = dict()
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1), clip_grad=dict(max_norm=10.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
    dict(type='MultiStepLR', milestones=[3], by_epoch=False),
]
default_hooks = dict(
    checkpoint=dict(
        type='CheckpointHook', interval=2, by_epoch=False, save_best='auto', rule='greater'
    ),
    logger=dict(type='LoggerHook', interval=1),
)
custom_hooks = [dict(type='EMAHook')]
randomness = dict(seed=0)
