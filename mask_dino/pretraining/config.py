"""The training of a backbone as a config, made from the config of a detector."""

from typing import Any, NamedTuple

from mmengine.config import Config

MEAN_OF_IMAGENET = (123.675, 116.28, 103.53)


class Schedule(NamedTuple):
    """How long and how fast a backbone learns."""

    steps: int = 2000
    images: int = 10  # in one step, over all processes
    lr: float = 2e-3
    size: int = 48  # side of the crops in pixels
    smallest: float = 0.7  # factor between an object and its crop
    largest: float = 1.4


def make_classifier_config(detector: Config, schedule: Schedule, num_processes: int = 1) -> Config:
    """Return the config that trains the backbone of a detector on crops of its objects.

    Args:
        detector: Config of a detector of MMDetection with a training set of boxes and labels.
        schedule: Length and rate of the training.
        num_processes: Processes that share the images of a step.
    """
    settings = dict(
        default_scope='mmdet',
        custom_imports=join_imports(detector),
        model=make_model(detector, schedule),
        train_dataloader=make_train_loader(detector, schedule, num_processes),
        val_dataloader=make_test_loader(detector, schedule),
        val_evaluator=dict(type='ObjectAccuracy'),
        default_hooks=make_hooks(schedule),
        custom_hooks=[dict(type='ProgressHook')],
        randomness=detector.get('randomness', dict(seed=0)),
        log_processor=dict(by_epoch=False),
        env_cfg=detector.get('env_cfg', {}),
    )
    return Config(settings | make_schedule(schedule))


def join_imports(detector: Config) -> dict[str, Any]:
    """Return the imports of a config and of this package."""
    imports = detector.get('custom_imports', {}).get('imports', [])
    names = [imports] if isinstance(imports, str) else list(imports)
    return dict(imports=[*names, 'mask_dino.pretraining'], allow_failed_imports=False)


def make_schedule(schedule: Schedule) -> dict[str, Any]:
    """Return optimizer, rates and loops."""
    warmup = max(schedule.steps // 40, 1)
    return dict(
        train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=schedule.steps, val_interval=schedule.steps
        ),
        val_cfg=dict(),
        optim_wrapper=dict(
            constructor='MaskDINOOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=schedule.lr, weight_decay=0.05),
        ),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
            dict(
                type='CosineAnnealingLR',
                by_epoch=False,
                begin=warmup,
                end=schedule.steps,
                eta_min=schedule.lr / 200,
            ),
        ],
    )


def make_model(detector: Config, schedule: Schedule) -> dict[str, Any]:
    """Return the backbone as a classifier of its objects and of the background."""
    preprocessor = detector.model.data_preprocessor
    names = ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr')
    normalisation = {name: preprocessor[name] for name in names if name in preprocessor}
    return dict(
        type='BackboneClassifier',
        backbone=detector.model.backbone,
        num_classes=count_things(detector) + 1,
        size=schedule.size,
        data_preprocessor=dict(type='mmengine.ImgDataPreprocessor', **normalisation),
    )


def make_train_loader(detector: Config, schedule: Schedule, num_processes: int) -> dict[str, Any]:
    """Return the loader of training crops."""
    dataset = make_crops(detector, schedule) | dict(
        dataset=detector.train_dataloader.dataset,
        scales=(schedule.smallest, schedule.largest),
    )
    return dict(
        batch_size=max(schedule.images // num_processes, 1),
        num_workers=1,
        persistent_workers=True,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        collate_fn=dict(type='collate_crops'),
        dataset=dataset,
    )


def make_test_loader(detector: Config, schedule: Schedule) -> dict[str, Any]:
    """Return the loader of the crops that the accuracy is measured on."""
    dataset = make_crops(detector, schedule) | dict(
        dataset=detector.val_dataloader.dataset, is_test=True
    )
    return dict(
        batch_size=schedule.images,
        num_workers=1,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='collate_crops'),
        dataset=dataset,
    )


def make_crops(detector: Config, schedule: Schedule) -> dict[str, Any]:
    """Return what the data sets of training and test share."""
    preprocessor = detector.model.data_preprocessor
    mean = preprocessor.get('mean') or MEAN_OF_IMAGENET
    is_swapped = preprocessor.get('bgr_to_rgb') or preprocessor.get('rgb_to_bgr')
    fill = mean[::-1] if is_swapped else mean
    return dict(
        type='ObjectCrops',
        num_classes=count_things(detector),
        size=schedule.size,
        fill=[round(value) for value in fill],
    )


def count_things(detector: Config) -> int:
    """Return the number of classes of things."""
    return int(detector.model.panoptic_head.num_things_classes)


def make_hooks(schedule: Schedule) -> dict[str, Any]:
    """Return the hooks of a training that survives an interruption."""
    return dict(
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=50),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(
            type='CheckpointHook',
            by_epoch=False,
            interval=max(schedule.steps // 10, 1),
            max_keep_ckpts=1,
            save_last=True,
        ),
        sampler_seed=dict(type='DistSamplerSeedHook'),
        check_loss=dict(type='CheckLossHook', max_steps=10),
        plain_history=dict(type='PlainHistoryHook'),
    )
