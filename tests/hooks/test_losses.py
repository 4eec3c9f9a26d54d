"""A training whose losses are no numbers ends, says why, and keeps its last good checkpoint."""

import math
from pathlib import Path

import pytest
import torch
from helpers.line import Height, Line, line_config
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner

from mask_dino.hooks.checkpoint_files import find_newest_checkpoint
from mask_dino.hooks.losses import LossError


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Train with losses that are broken at some steps, counted from one; return what was logged."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    forward = Line.forward

    def run(
        broken: dict[int, float], steps: int, max_steps: int = 3, interval: int = 100
    ) -> list[str]:
        step = 0

        def broken_forward(self: Line, points: object, mode: str = 'tensor') -> object:
            nonlocal step
            output = forward(self, points, mode)
            if mode != 'loss':
                return output
            step += 1
            return dict(
                loss_good=output['loss'],
                loss_bad=output['loss'].detach() * 0 + broken.get(step, 0.0),
            )

        monkeypatch.setattr(Line, 'forward', broken_forward)
        hooks = [dict(type='CheckLossHook', max_steps=max_steps)]
        saving = dict(type='CheckpointHook', by_epoch=False, interval=interval, max_keep_ckpts=1)
        config = line_config(tmp_path, steps, custom_hooks=hooks, checkpoint=saving)
        config.train_cfg.val_interval = 100
        runner = Runner.from_cfg(config)
        logged: list[str] = []
        monkeypatch.setattr(
            runner.logger, 'warning', lambda message, *args: logged.append(str(message))
        )
        runner.train()
        return [message for message in logged if 'NaN' in message]

    return run


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_training_that_cannot_recover_ends(train, value):
    with pytest.raises(LossError) as failure:
        train(dict.fromkeys(range(2, 20), value), steps=19)
    message = str(failure.value)
    assert (
        message.startswith('step 4: ')
        and 'loss, loss_bad' in message
        and 'loss_good' not in message
    )
    assert (
        '3 steps in a row' in message
        and 'optim_wrapper.optimizer.lr' in message
        and '\n' not in message
    )


def test_single_steps_are_survived_and_told_once_in_fifty_steps(train):
    broken = {step: math.inf for step in range(1, 120) if step % 3}
    warnings = train(broken, steps=119)
    assert [int(text.split()[1].rstrip(':')) for text in warnings] == [1, 52, 103]


def test_good_losses_are_not_spoken_of(train):
    assert train({}, steps=5) == []


def test_weights_that_are_no_numbers_do_not_replace_a_good_checkpoint(train, tmp_path, monkeypatch):
    def poison(self: object, *args: object, **options: object) -> None:
        if poison.left == 0:
            next(iter(self.param_groups))['params'][0].data.fill_(math.nan)
        poison.left -= 1

    poison.left = 3
    monkeypatch.setattr(torch.optim.AdamW, 'step', poison)
    with pytest.raises(
        LossError, match=r'step 4: 1 tensor of weights .*linear\.weight.* not saved'
    ):
        train({}, steps=9, max_steps=9, interval=1)
    assert find_newest_checkpoint(tmp_path) == (tmp_path / 'iter_3.pth', [])


def test_a_resumed_training_counts_the_validations_without_improvement_on(tmp_path, monkeypatch):
    figures = iter([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    monkeypatch.setattr(Height, 'compute_metrics', lambda self, results: dict(height=next(figures)))
    hook = dict(type='EarlyStoppingHook', monitor='line/height', rule='greater', patience=4)
    Runner.from_cfg(line_config(tmp_path, 3, custom_hooks=[hook])).train()
    resumed = Runner.from_cfg(line_config(tmp_path, 10, custom_hooks=[hook], resume=True))
    resumed.train()
    stopped_at = 6  # the validation of iteration 3 came after its checkpoint
    assert resumed.iter == stopped_at


def figure_files(folder: Path) -> list[Path]:
    return list(folder.glob('*/*.json'))


def test_only_the_first_process_writes_the_figures_of_a_test(tmp_path, monkeypatch):
    tester = Runner.from_cfg(line_config(tmp_path, 1))
    tester.test()
    [figures] = figure_files(tmp_path)
    figures.unlink()
    hook = next(hook for hook in tester.hooks if isinstance(hook, LoggerHook))
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
    hook.after_test_epoch(tester)
    assert not figure_files(tmp_path)
    LoggerHook.after_test_epoch(hook, tester)
    assert figure_files(tmp_path) == [figures]  # if not, our hook can go
