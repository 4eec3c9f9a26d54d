"""Settings with which no training can work are named before the first step."""

import pytest
from helpers.line import line_config
from mmengine.config import Config

from mask_dino.cli.runner import ResumableRunner
from mask_dino.datasets.checks.training import check_batches, check_training
from mask_dino.messages import DataError, error_messages

NAN, INFINITE = float('nan'), float('inf')


def with_settings(settings: dict, work_dir: object = '') -> Config:
    config = line_config(work_dir, 4)
    config.merge_from_dict(settings)
    return config


@pytest.mark.parametrize(
    ('place', 'values'),
    [
        ('train_cfg.max_iters', [0, -1, 2.5, '2', True]),
        ('train_cfg.val_interval', [0, -1, 1.5]),
        ('default_hooks.logger.interval', [0]),
        ('randomness.seed', [-1, 'a', 2**32]),
        ('optim_wrapper.accumulative_counts', [0, 2.5]),
        ('optim_wrapper.optimizer.lr', [1e38, 1e300, INFINITE, NAN, -1, None, True, '1e-4']),
        ('optim_wrapper.optimizer.weight_decay', [1e38, INFINITE, NAN, -1]),
        ('optim_wrapper.clip_grad', [5]),
        ('optim_wrapper.clip_grad.max_norm', [0, -1, NAN, None]),
        ('optim_wrapper.clip_grad.norm', [1]),
        ('optim_wrapper.paramwise_cfg.bias_lr_mult', [-1, NAN]),
        ('optim_wrapper.paramwise_cfg.custom_keys.weight.lr_mult', [INFINITE]),
        ('optim_wrapper.optimizer.type', ['AdamX']),
        ('param_scheduler.0.start_factor', [0, -1, NAN]),
        ('param_scheduler.1.gamma', [-1, NAN]),
        ('param_scheduler.1.type', ['StepLr']),
    ],
)
def test_a_setting_that_cannot_work_is_named(place, values):
    last = place.rpartition('.')[2]
    for value in values:
        [message] = error_messages(check_training(with_settings({place: value})))
        section = message.partition(' is ')[0]
        assert section.startswith(place.partition('.')[0])
        assert last in message
        assert repr(value) in message
        assert message.endswith(('.', '?'))


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'optim_wrapper.clip_grad': None, 'randomness.seed': None},
        {'optim_wrapper.clip_grad.max_norm': INFINITE},
        {'param_scheduler': []},
        {'param_scheduler': [dict(type='PolyLR', eta_min=0, power=0.9, by_epoch=False)]},
        {'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(weight=dict(lr_mult=0.0)))},
    ],
)
def test_usual_settings_pass(settings):
    assert check_training(with_settings(settings)) == []


def test_a_learning_rate_of_zero_is_told():
    [finding] = check_training(with_settings({'optim_wrapper.optimizer.lr': 0.0}))
    assert 'lr is 0' in finding.message and not error_messages([finding])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'optim_wrapper.optimizer.betas': (1.5, 0.9)}, r'^optim_wrapper .* Invalid beta'),
        ({'optim_wrapper.optimizer.momentum': 0.9}, '^optim_wrapper .*momentum'),
        ({'param_scheduler.0.begin': 5}, '^param_scheduler .* begin=5, end=3'),
    ],
)
def test_what_torch_and_mmengine_refuse_is_named_with_its_section(tmp_path, settings, message):
    runner = ResumableRunner.from_cfg(with_settings(settings, tmp_path))
    with pytest.raises(DataError, match=message):
        runner.train()


@pytest.mark.parametrize(
    ('options', 'is_refused'),
    [
        (dict(drop_last=True), True),
        (dict(drop_last=False), False),
        (dict(drop_last=True, batch_size=8), False),
        (dict(drop_last=True, sampler=dict(type='InfiniteSampler')), False),
    ],
)
def test_a_training_without_a_whole_batch_is_refused(options, is_refused):
    loader = dict(batch_size=9, sampler=dict(type='DefaultSampler')) | options
    config = dict(train_dataloader=loader)
    assert bool(check_batches(config, range(8))) == is_refused
