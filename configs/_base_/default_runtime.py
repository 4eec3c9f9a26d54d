default_scope = 'mmdet'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=3, save_last=True
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='DetVisualizationHook'),
    # Errors in the data stop training and testing before the first step; stop=False only logs them.
    check_data=dict(type='CheckDataHook', stop=True),
    check_checkpoint=dict(type='CheckCheckpointHook'),
    # Losses that are NaN or infinite in so many steps in a row end the training.
    check_loss=dict(type='CheckLossHook', max_steps=10),
    # Checkpoints hold what torch reads without mmengine.
    plain_history=dict(type='PlainHistoryHook'),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(
        backend='nccl', timeout=1800
    ),  # seconds without an answer after which the other processes end
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='PanopticVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)

log_level = 'INFO'
load_from = None
resume = False
