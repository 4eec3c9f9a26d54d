"""The state of a training, read from a checkpoint of unknown origin, leads to no file outside of the training."""

from pathlib import Path

import pytest
import torch
from helpers.line import line_config
from mmengine.runner import Runner

from mask_dino.hooks.resume_state import is_checkpoint_name

BEST = dict(save_best='line/height', rule='greater', max_keep_ckpts=1)


@pytest.fixture(autouse=True)
def without_environment(monkeypatch) -> None:
    """Let mmengine's Runner not ask compilers for their versions."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr('mmengine.runner.runner.get_git_hash', str)


def train(work_dir: Path, iterations: int, **options: object) -> Runner:
    hook = dict(type='CheckpointHook', by_epoch=False, interval=1) | BEST
    runner = Runner.from_cfg(line_config(work_dir, iterations, checkpoint=hook, **options))
    runner.train()
    return runner


@pytest.fixture(scope='module')
def saved(tmp_path_factory) -> Path:
    """A checkpoint after two iterations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.runner.runner.collect_env', dict)
        train(folder := tmp_path_factory.mktemp('saved'), 2)
    return folder / 'iter_2.pth'


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('best_ckpt', 'OUTSIDE/notes.txt'),
        ('best_ckpt', 'OUTSIDE/best_line_height_iter_1.pth'),
        ('best_ckpt', 'OUTSIDE'),
        ('best_ckpt', 'WORK/results.pth'),
        ('best_ckpt', 'WORK/../outside'),
        ('best_ckpt', 7),
        ('keep_ckpt_ids', ['/../../outside/notes', 'x']),
        ('keep_ckpt_ids', ['OUTSIDE/notes.txt', 1]),
        ('outdated', ['OUTSIDE/notes.txt', '../outside/notes.txt', 'results.pth']),
    ],
)
def test_a_resumed_training_removes_no_file_of_others(tmp_path, saved, field, value):
    work, outside = tmp_path / 'work', tmp_path / 'outside'
    (work / 'iter_').mkdir(parents=True)
    outside.mkdir()
    victims = [work / 'results.pth', outside / 'notes.txt', outside / 'best_line_height_iter_1.pth']
    for victim in victims:
        victim.write_text('precious')

    def place(item: object) -> object:
        if not isinstance(item, str):
            return item
        return item.replace('OUTSIDE', str(outside)).replace('WORK', str(work))

    hostile = [place(item) for item in value] if isinstance(value, list) else place(value)
    checkpoint = torch.load(saved, weights_only=False)
    state = checkpoint['message_hub']
    owner = checkpoint['resume_state'] if field == 'outdated' else state['runtime_info']
    owner[field] = hostile
    state['runtime_info']['best_score'] = -1e9
    torch.save(checkpoint, tmp_path / 'hostile.pth')
    runner = train(work, 5, load_from=str(tmp_path / 'hostile.pth'), resume=True)
    assert runner.iter == 5
    assert [victim.read_text() for victim in victims] == ['precious'] * len(victims)


def test_a_moved_training_removes_its_own_old_best_checkpoint(tmp_path, saved):
    [best] = saved.parent.glob('best_*.pth')
    work = tmp_path / 'moved'
    work.mkdir()
    (work / best.name).write_bytes(best.read_bytes())
    train(work, 5, load_from=str(saved), resume=True)
    assert best.exists()
    [new_best] = work.glob('best_*.pth')
    assert new_best.name != best.name


@pytest.mark.parametrize(
    ('name', 'is_own'),
    [
        ('iter_12.pth', True),
        ('best_coco_bbox_mAP_iter_12.pth', True),
        ('iter_12.pth.txt', False),
        ('weights.pth', False),
        ('best_/../iter_12.pth', False),
        ('/iter_12.pth', False),
        ('', False),
        (None, False),
        (12, False),
    ],
)
def test_names_of_checkpoints_are_told_from_others(name, is_own):
    assert is_checkpoint_name(name, 'iter_{}.pth') is is_own
