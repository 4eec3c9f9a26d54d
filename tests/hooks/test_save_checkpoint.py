"""A checkpoint is on the disk before the one before it goes, and a training finds the newest that can be read."""

import errno
import math
import os
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.line import Height, line_config
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mask_dino.checkpoints import CheckpointError
from mask_dino.hooks import checkpoint_files
from mask_dino.hooks.checkpoint_files import (
    UNFINISHED,
    StorageError,
    find_newest_checkpoint,
    write_durably,
)
from mask_dino.hooks.save_checkpoint import DurableCheckpointHook
from mask_dino.messages import DataError


class Killed(BaseException):
    """Stands for SIGKILL: no code of the training handles it."""


def train(work_dir: Path, iterations: int = 4, **checkpoint: object) -> Runner:
    """Train the least model, which saves after every iteration and keeps one checkpoint."""
    hook = dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1) | checkpoint
    runner = Runner.from_cfg(line_config(work_dir, max_iters=iterations, checkpoint=hook))
    runner.train()
    return runner


@pytest.fixture(autouse=True)
def without_environment(monkeypatch) -> None:
    """Let mmengine's Runner not ask compilers for their versions."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr('mmengine.runner.runner.get_git_hash', str)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py')


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory) -> Path:
    """A folder with the checkpoints of four iterations."""
    folder = tmp_path_factory.mktemp('checkpoints')
    train(folder, max_keep_ckpts=-1)
    return folder


@pytest.fixture
def folder(checkpoints, tmp_path) -> Path:
    """A copy of these checkpoints; the newest file is the oldest checkpoint."""
    for iteration in (4, 3, 2, 1):
        (tmp_path / f'iter_{iteration}.pth').write_bytes(
            (checkpoints / f'iter_{iteration}.pth').read_bytes()
        )
    return tmp_path


def test_configs_that_name_mmengines_hook_get_the_durable_one():
    assert HOOKS.get('CheckpointHook') is DurableCheckpointHook


@pytest.mark.parametrize(
    'options', [{}, dict(save_best='line/height', rule='greater')], ids=['last', 'best']
)
def test_a_training_killed_while_it_saves_leaves_the_checkpoint_before(
    tmp_path, monkeypatch, options
):
    """At every single moment of saving, of all files: what was saved last, or before, can be read."""
    replace = os.replace
    for moment in range(12):
        work_dir = tmp_path / str(moment)
        steps = iter(range(moment))

        def step(*args: object) -> None:
            if next(steps, None) is None:  # noqa: B023
                raise Killed

        def rename(source: Path, target: Path) -> None:
            step()
            replace(source, target)
            step()

        monkeypatch.setattr(checkpoint_files.os, 'fsync', step)
        monkeypatch.setattr(checkpoint_files.os, 'replace', rename)
        with pytest.raises(Killed):
            train(work_dir, iterations=9, **options)
        saved = [path.name for path in work_dir.glob('iter_*.pth')]
        newest, skipped = find_newest_checkpoint(work_dir)
        assert len(saved) <= 2 and not [file for file in skipped if 'best' not in file]
        assert newest is None if moment < 2 else newest.name == max(saved)
        validated = options and newest and newest.name > 'iter_1.pth'
        assert len(list(work_dir.glob('best_*.pth'))) >= bool(validated)


def test_older_checkpoints_are_removed_and_leftovers_of_a_killed_training_too(tmp_path):
    (tmp_path / f'iter_3.pth{UNFINISHED}').write_bytes(b'half')
    train(tmp_path, save_best='line/height', rule='greater')
    assert [name for name in names(tmp_path) if name.startswith('iter')] == ['iter_4.pth']
    assert not list(tmp_path.glob(f'*{UNFINISHED}'))
    assert len(list(tmp_path.glob('best_*.pth'))) == 1
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_4.pth')


@pytest.mark.parametrize(
    'note', [None, '', 'gone/iter_9.pth', '\0\0\0'], ids=['missing', 'empty', 'dangling', 'zeros']
)
def test_last_checkpoint_is_not_needed(folder, note):
    if note is not None:
        (folder / 'last_checkpoint').write_text(note)
    assert find_newest_checkpoint(folder) == (folder / 'iter_4.pth', [])
    runner = Runner.from_cfg(line_config(folder, max_iters=5, resume=True))
    runner.train()
    assert runner.iter == 5 and (folder / 'last_checkpoint').read_text() == str(
        folder / 'iter_5.pth'
    )


@pytest.mark.parametrize(
    'damage',
    [
        lambda data: b'',
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b'<html>' + data,
        lambda data: bytes(len(data)),
    ],
    ids=['empty', 'half', 'one byte short', 'other content', 'zeros'],
)
def test_damaged_files_are_skipped_and_named(folder, damage):
    for iteration in (3, 4):
        path = folder / f'iter_{iteration}.pth'
        path.write_bytes(damage(path.read_bytes()))
    newest, skipped = find_newest_checkpoint(folder)
    assert newest == folder / 'iter_2.pth'
    assert [file.split(' ')[0] for file in skipped] == [
        str(folder / f'iter_{i}.pth') for i in (3, 4)
    ]


def test_weights_without_a_state_are_skipped_and_named(folder):
    torch.save(dict(state_dict={}), folder / 'weights.pth')
    newest, [skipped] = find_newest_checkpoint(folder)
    assert newest == folder / 'iter_4.pth' and 'weights.pth (holds weights, but no state' in skipped


def test_without_a_readable_checkpoint_nothing_is_started_over(folder):
    for path in folder.glob('*.pth'):
        path.write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'iter_1\.pth.*start from the beginning.*--work-dir'):
        find_newest_checkpoint(folder)
    with pytest.raises(CheckpointError, match='start from the beginning'):
        Runner.from_cfg(line_config(folder, max_iters=5, resume=True)).train()


def test_a_later_training_in_the_same_folder_is_newer_than_a_longer_one(folder):
    for iteration, time in ((4, '20250101_000000'), (2, '20250102_000000')):
        checkpoint = torch.load(folder / f'iter_{iteration}.pth', weights_only=False)
        checkpoint['meta']['time'] = time
        torch.save(checkpoint, folder / f'iter_{iteration}.pth')
    for iteration in (1, 3):
        (folder / f'iter_{iteration}.pth').unlink()
    assert find_newest_checkpoint(folder)[0] == folder / 'iter_2.pth'


@pytest.mark.parametrize(
    ('code', 'remedy'),
    [
        (errno.ENOSPC, 'free some space'),
        (errno.EDQUOT, 'quota'),
        (errno.EROFS, 'read-only'),
        (errno.EACCES, 'permission'),
        (errno.EIO, 'disk reports an error'),
        (errno.ENXIO, 'another working directory'),
    ],
)
def test_a_failed_write_says_why_and_leaves_the_old_file(tmp_path, monkeypatch, code, remedy):
    path = tmp_path / 'file'
    path.write_bytes(b'old')

    def fail(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(checkpoint_files.os, 'fsync', fail)
    with pytest.raises(StorageError, match=remedy) as failure:
        write_durably(path, b'new')
    assert str(failure.value).startswith(f'{path} cannot be written') and '\n' not in str(
        failure.value
    )
    assert path.read_bytes() == b'old' and names(tmp_path) == ['file']


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(StorageError, match='is in the way'):
        write_durably(tmp_path / 'folder', b'x')
    with pytest.raises(StorageError, match=r'in the way|not a directory'):
        write_durably(tmp_path / 'file' / 'x', b'x')


def test_a_file_larger_than_allowed_leaves_the_training_its_old_checkpoint(tmp_path):
    write_durably(tmp_path / 'file', b'old')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(StorageError, match='ulimit -f'):
            write_durably(tmp_path / 'file', bytes(9000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ['file'] and (tmp_path / 'file').read_bytes() == b'old'


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'target')
    write_durably(tmp_path / 'link', b'new')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'target').read_bytes() == b'new'


def test_too_little_space_is_told_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=3))
    with pytest.raises(StorageError, match='left; free some space'):
        train(tmp_path)
    assert not list(tmp_path.glob('*.pth'))


def test_a_figure_that_is_no_number_is_never_the_best(tmp_path, monkeypatch):
    values = iter([1.0, math.nan, math.inf - math.inf, 2.0, math.nan])
    monkeypatch.setattr(Height, 'compute_metrics', lambda self, results: {'height': next(values)})
    runner = train(tmp_path, iterations=5, save_best='line/height', rule='greater')
    [best] = tmp_path.glob('best_*.pth')
    assert 'iter_4' in best.name
    assert runner.message_hub.get_info('best_score') == 2.0


def test_a_figure_that_the_validation_does_not_give_is_named_with_those_it_gives(tmp_path):
    with pytest.raises(DataError, match=r'no figure line/depth\. It gives line/height\.'):
        train(tmp_path, save_best='line/depth', rule='greater')
