"""A resumed training names the settings of its config that have no effect."""

from pathlib import Path

import pytest
import torch
from helpers.line import line_config
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.runner import Runner

from mask_dino.checkpoints import load_checkpoint_safely
from mask_dino.hooks.resume_state import annotation_files
from mask_dino.messages import DataError
from mask_dino.random_state import RandomState

END = {'param_scheduler.1.end': 100}
"""Without it, mmengine lets a schedule end with the training, so that a longer training has another schedule."""

START = ('the training data', 'the checkpoint was saved by', 'an epoch has')
"""How warnings begin that name no setting."""


@pytest.fixture
def warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Train for two steps, resume with other settings, and return the warnings of the settings."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    Runner.from_cfg(line_config(tmp_path, 2, **END)).train()

    def run(**options: object) -> list[str]:
        runner = Runner.from_cfg(line_config(tmp_path, 3, **END | options))
        logged: list[str] = []
        monkeypatch.setattr(
            runner.logger, 'warning', lambda message, *args: logged.append(str(message))
        )
        runner.train()
        return [
            message for message in logged if message.startswith(START) or 'load_from=' in message
        ]

    return run


def optimizer(**settings: object) -> dict:
    return dict(optim_wrapper=dict(optimizer=settings))


@pytest.mark.parametrize(
    ('options', 'setting', 'configured', 'saved'),
    [
        (optimizer(lr=0.2), 'lr', '0.2', '0.1'),
        (optimizer(weight_decay=0.5), 'weight_decay', '0.5', '0.01'),
        (optimizer(betas=(0.8, 0.9)), 'betas', '[0.8, 0.9]', '[0.9, 0.999]'),
        ({'param_scheduler.1.milestones': [5]}, 'param_scheduler[1].milestones', '[5]', '[3]'),
        ({'param_scheduler.0.end': 9}, 'param_scheduler[0].end', '9', '3'),
    ],
    ids=['learning rate', 'weight decay', 'betas', 'milestones', 'warm-up'],
)
def test_a_setting_without_effect_is_named_with_the_way_to_change_it(
    warnings, options, setting, configured, saved
):
    messages = [
        text for text in warnings(resume=True, **options) if text.startswith(f'{setting} = ')
    ]
    [message] = messages
    assert (
        f'{setting} = {configured} of the config has no effect: the checkpoint goes on with {saved};'
        in message
    )
    assert 'resume=False' in message


def test_other_groups_of_parameters_are_refused_with_the_way_to_go_on(warnings):
    groups = dict(paramwise_cfg=dict(bias_lr_mult=2.0))
    with pytest.raises(DataError, match=r'groups of .* resume=False'):
        warnings(resume=True, optim_wrapper=groups)


def test_another_batch_size_does_not_change_the_learning_rate(warnings):
    [message] = warnings(resume=True, train_dataloader=dict(batch_size=4))
    assert (
        'the batch size is 4, but the learning rate of the checkpoint is for' in message
        and '2 images per step' in message
    )


def test_adding_up_other_numbers_of_gradients_does_not_change_the_learning_rate(warnings):
    [message] = warnings(resume=True, optim_wrapper=dict(accumulative_counts=2))
    assert 'the gradients of 2 steps are added up' in message and 'is for 1;' in message


def change_state(path: Path, **values: object) -> None:
    """Let a checkpoint say that it was saved under other circumstances."""
    checkpoint = load_checkpoint_safely(path)
    checkpoint['resume_state'].update(values)
    torch.save(checkpoint, path)


def test_other_training_data_are_named(warnings, tmp_path):
    more = dict(dataset=dict(type='Points', count=12))
    [message] = warnings(resume=True, train_dataloader=more)
    assert 'have 12 images, and the data of the checkpoint had 8' in message
    change_state(tmp_path / 'iter_3.pth', annotation_files=['old.json'], num_images=12)
    [file_message] = warnings(resume=True, load_from=str(tmp_path / 'iter_3.pth'))[:1]
    assert 'the data of the checkpoint were old.json' in file_message


def test_annotation_files_are_compared_by_name():
    parts = [
        BaseDataset(ann_file=f'{name}.json', data_root='data/moved', lazy_init=True)
        for name in ('first', 'second')
    ]
    both = ConcatDataset(parts, lazy_init=True)
    assert annotation_files(both) == ['first.json', 'second.json']
    assert annotation_files([1, 2]) == []


def test_another_number_of_processes_is_named(warnings, tmp_path):
    path = tmp_path / 'iter_2.pth'
    states = load_checkpoint_safely(path)['resume_state']['random_states']
    change_state(path, random_states=states * 2, batch_size=4)
    batch, order = warnings(resume=True)
    assert 'the batch size is 2, but the learning rate of the checkpoint is for 4 images' in batch
    assert 'saved by 2 processes, and 1 go on' in order


def test_another_schedule_is_named(warnings):
    schedule = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3)]
    messages = warnings(resume=True, param_scheduler=schedule)
    assert any('number of param_scheduler = 1' in message for message in messages)


def test_unchanged_settings_and_new_trainings_are_not_spoken_of(warnings, tmp_path):
    assert warnings(resume=True) == []
    assert warnings(load_from=str(tmp_path / 'iter_2.pth'), **optimizer(lr=0.2)) == []


def test_the_process_of_a_loader_does_not_start_a_gpu(monkeypatch: pytest.MonkeyPatch):
    """CUDA cannot start in a forked process, so its random numbers are left out where it has not started."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_rng_state', lambda: pytest.fail('started CUDA'))
    assert RandomState.capture().accelerator is None
