"""A training that is stopped and resumed ends with the bits of one that was not, and reads no image twice."""

import itertools
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.line import NoisyPoints, line_config
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import runner
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.data import BatchSampler, DataLoader

from mask_dino.checkpoints import CheckpointError, load_checkpoint_safely
from mask_dino.cli.runner import ResumableRunner, end_with_parent, read_start
from mask_dino.cli.seeded_batches import SeededBatch, SeededBatchSampler, seed_batches
from mask_dino.random_state import RandomState, seed_generators


@pytest.fixture(autouse=True)
def without_environment(monkeypatch) -> None:
    """Let mmengine's Runner not ask compilers for their versions."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr('mmengine.runner.runner.get_git_hash', str)


def config(
    work_dir: Path, iterations: int, sampler: str, workers: int, **options: object
) -> Config:
    loader = dict(
        num_workers=workers,
        persistent_workers=workers > 0,
        dataset=dict(type='NoisyPoints'),
        sampler=dict(_delete_=True, type=sampler, shuffle=True),
    )
    return line_config(
        work_dir, iterations, model=dict(type='NoisyLine'), train_dataloader=loader, **options
    )


def in_epochs(work_dir: Path, epochs: int, workers: int, interval: int | None) -> Config:
    """Return the config of a training in epochs of four steps that saves after every epoch or some steps."""
    result = config(work_dir, 0, 'DefaultSampler', workers)
    result.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
    result.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=not interval, interval=interval or 1
    )
    return result


def state(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint that training changes."""
    checkpoint = load_checkpoint_safely(path)
    moments = {
        f'{key}.{name}': value
        for key, entry in checkpoint['optimizer']['state'].items()
        for name, value in entry.items()
    }
    return checkpoint['state_dict'] | checkpoint['ema_state_dict'] | moments


def assert_same(path: Path, other: Path) -> None:
    first, second = state(path), state(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize(('first', 'second'), [(0, 0), (2, 2), (0, 2)])
@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler'])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path, monkeypatch, sampler, first, second):
    monkeypatch.setattr('time.sleep', lambda seconds: None)  # of mmengine, between two epochs
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    ResumableRunner.from_cfg(config(whole, 10, sampler, first)).train()
    ResumableRunner.from_cfg(config(parts, 5, sampler, first)).train()
    ResumableRunner.from_cfg(config(parts, 10, sampler, second, resume=True)).train()
    assert_same(whole / 'iter_5.pth', parts / 'iter_5.pth')
    assert_same(whole / 'iter_10.pth', parts / 'iter_10.pth')


class OnDevice(Tensor):
    """Stands for a tensor on a GPU, which numpy cannot read."""

    def numpy(self, *args: object, **options: object) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def cpu(self) -> Tensor:
        return self.as_subclass(Tensor)


def test_a_training_is_resumed_from_a_checkpoint_that_is_loaded_to_a_gpu(tmp_path, monkeypatch):
    def load_to_device(*args: object, **options: object) -> dict:
        checkpoint = load(*args, **options)
        return tree_map_only(Tensor, lambda tensor: tensor.as_subclass(OnDevice), checkpoint)

    load = runner._load_checkpoint
    options = dict(
        optim_wrapper=dict(accumulative_counts=2),  # gradients are saved too
        custom_hooks=[dict(type='EMAHook'), dict(type='PlainHistoryHook')],
    )
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    ResumableRunner.from_cfg(config(whole, 5, 'InfiniteSampler', 0, **options)).train()
    parts.mkdir()
    shutil.copy(whole / 'iter_3.pth', parts)
    monkeypatch.setattr(runner, '_load_checkpoint', load_to_device)
    ResumableRunner.from_cfg(config(parts, 5, 'InfiniteSampler', 0, resume=True, **options)).train()
    assert_same(whole / 'iter_5.pth', parts / 'iter_5.pth')


@pytest.mark.parametrize('iteration', [3, 10**15])
def test_a_checkpoint_behind_the_end_is_refused_at_once(tmp_path, iteration):
    ResumableRunner.from_cfg(config(tmp_path, 2, 'InfiniteSampler', 0)).train()
    checkpoint = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    checkpoint['meta']['iter'] = iteration
    torch.save(checkpoint, tmp_path / 'iter_2.pth')
    resumed = ResumableRunner.from_cfg(config(tmp_path, 2, 'InfiniteSampler', 0, resume=True))
    with pytest.raises(CheckpointError, match=f'iteration {iteration}, .* ends at 2: .* max_iters'):
        resumed.train()


@pytest.mark.parametrize('step', range(1, 5))
@pytest.mark.parametrize('counts', [2, 3, 4])
def test_gradients_that_wait_for_those_of_further_steps_are_saved(tmp_path, counts, step):
    options = dict(optim_wrapper=dict(accumulative_counts=counts))
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    ResumableRunner.from_cfg(config(whole, 5, 'InfiniteSampler', 0, **options)).train()
    parts.mkdir()
    middle = shutil.copy(whole / f'iter_{step}.pth', parts)
    is_between = bool(load_checkpoint_safely(Path(middle))['resume_state']['gradients'])
    assert is_between == (step % counts != 0)
    ResumableRunner.from_cfg(config(parts, 5, 'InfiniteSampler', 0, resume=True, **options)).train()
    assert_same(whole / 'iter_5.pth', parts / 'iter_5.pth')


@pytest.mark.parametrize(
    ('workers', 'interval', 'last'), [(0, None, 'epoch_3'), (2, None, 'epoch_3'), (2, 3, 'iter_12')]
)
def test_a_training_in_epochs_is_resumed_at_an_epoch_or_in_the_middle_of_one(
    tmp_path, workers, interval, last
):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    ResumableRunner.from_cfg(in_epochs(whole, 3, workers, interval)).train()
    ResumableRunner.from_cfg(in_epochs(parts, 2, workers, interval)).train()
    if interval:
        (
            parts / 'iter_8.pth'
        ).unlink()  # saved at the end; three steps after iteration 6, which is in an epoch
    resumed = in_epochs(parts, 3, workers, interval)
    resumed.resume = True
    ResumableRunner.from_cfg(resumed).train()
    assert_same(whole / f'{last}.pth', parts / f'{last}.pth')


@pytest.mark.parametrize(('count', 'steps'), [(12, 6), (4, 2)])
@pytest.mark.parametrize('interval', [None, 3])
def test_epochs_of_another_length_are_whole(tmp_path, monkeypatch, count, steps, interval):
    """Their first two had four steps; images were added or removed."""
    ResumableRunner.from_cfg(in_epochs(tmp_path, 2, 0, interval)).train()
    if interval:
        (tmp_path / 'iter_8.pth').unlink()  # iteration 6 is in the second epoch
    resumed = in_epochs(tmp_path, 3, 0, interval)
    resumed.resume = True
    resumed.train_dataloader.dataset.count = count
    read: list[int] = []
    original = NoisyPoints.__getitem__
    monkeypatch.setattr(
        NoisyPoints, '__getitem__', lambda self, index: read.append(index) or original(self, index)
    )
    runner = ResumableRunner.from_cfg(resumed)
    runner.train()
    num_epochs = 2 if interval else 1
    assert runner.iter == 3 * steps
    assert sorted(index for index in read) == sorted([*range(count)] * num_epochs)


def test_the_seed_need_not_be_in_the_config(tmp_path):
    options = dict(sampler='InfiniteSampler', workers=0, randomness=dict(seed=None))
    ResumableRunner.from_cfg(config(tmp_path, 3, **options)).train()
    resumed = ResumableRunner.from_cfg(config(tmp_path, 6, resume=True, **options))
    resumed.train()
    seed = load_checkpoint_safely(tmp_path / 'iter_3.pth')['meta']['seed']
    assert resumed.train_dataloader.batch_sampler.sampler.seed == seed == resumed.seed


def test_batches_that_were_seen_are_not_read_again(tmp_path, monkeypatch):
    ResumableRunner.from_cfg(config(tmp_path, 5, 'InfiniteSampler', 0)).train()
    read = []
    original = NoisyPoints.__getitem__
    monkeypatch.setattr(
        NoisyPoints, '__getitem__', lambda self, index: read.append(index) or original(self, index)
    )
    ResumableRunner.from_cfg(config(tmp_path, 7, 'InfiniteSampler', 0, resume=True)).train()
    assert len(read) == 2 * 2


def batches(sampler: type, num_seen: int, count: int) -> list[tuple[list[int], tuple]]:
    """Return indices and seeds of batches, over several epochs."""
    options = dict(dataset=range(7), shuffle=True, seed=3)
    seeded = SeededBatchSampler(BatchSampler(sampler(**options), 2, drop_last=False), 3, num_seen)
    endless = itertools.chain.from_iterable(seeded for _ in itertools.count())
    return [(batch[:], batch.entropy) for batch in itertools.islice(endless, count)]


@pytest.mark.parametrize('sampler', [DefaultSampler, InfiniteSampler])
def test_batches_start_anywhere(sampler):
    whole = batches(sampler, 0, 20)
    assert len({entropy for _, entropy in whole}) == 20
    for num_seen in range(12):
        assert batches(sampler, num_seen, 8) == whole[num_seen : num_seen + 8]


def test_an_empty_data_set_has_no_batches():
    empty = SeededBatchSampler(BatchSampler([], 2, drop_last=False), 0, num_seen=3)
    assert list(empty) == []


class Noise:
    """Random numbers as data."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple:
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_random_numbers_of_data_do_not_depend_on_loader_processes(workers):
    loader = DataLoader(Noise(), batch_size=2, num_workers=workers, collate_fn=list)
    expected = [
        item
        for batch in seed_batches(DataLoader(Noise(), batch_size=2, collate_fn=list), 5, 0)
        for item in batch
    ]
    seed_generators([1])
    state = RandomState.capture()
    seeded = seed_batches(loader, 5, 0)
    seeded.generator = torch.Generator()
    items = [item for batch in seeded for item in batch]
    assert items == expected and len({noise for _, *noises in items for noise in noises}) == 3 * 8
    assert all(
        torch.equal(*pair)
        for pair in zip(tensors(state), tensors(RandomState.capture()), strict=True)
    )


def tensors(state: RandomState) -> tuple[Tensor, Tensor, Tensor]:
    return state.python[1], state.numpy[0], state.torch


def test_a_batch_survives_the_way_to_another_process():
    import pickle

    batch = SeededBatch([3, 1], (5, 0, 7))
    copy = pickle.loads(pickle.dumps(batch))
    assert (
        type(copy) is SeededBatch
        and copy[:] == [3, 1]
        and copy.entropy == (5, 0, 7)
        and list(copy) == [3, 1]
    )


def test_states_of_generators_are_restored(tmp_path):
    def draw() -> list[float]:
        return [random.gauss(0, 1), float(np.random.randn()), float(torch.randn(()))]

    draw()  # so that half of a pair of normal numbers is left
    torch.save(RandomState.capture()._asdict(), tmp_path / 'state.pth')
    expected = [draw() for _ in range(3)]
    RandomState.from_checkpoint(load_checkpoint_safely(tmp_path / 'state.pth')).restore()
    assert [draw() for _ in range(3)] == expected


def is_running(pid: int) -> bool:
    """Return whether a process exists that is not just waiting to be reaped."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='Linux only')
def test_a_process_ends_with_its_parent():
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = os.fork()
        if child == 0:
            end_with_parent()
            os.write(writing, str(os.getpid()).encode())
            time.sleep(600)
        time.sleep(600)
    child = int(os.read(reading, 20))
    assert is_running(child)
    os.kill(parent, 9)
    os.waitpid(parent, 0)
    for _ in range(100):
        if not is_running(child):
            break
        time.sleep(0.1)
    assert not is_running(child)


def test_the_start_of_a_resumed_training_is_read_without_its_tensors(tmp_path, monkeypatch):
    ResumableRunner.from_cfg(config(tmp_path, 3, 'InfiniteSampler', 0)).train()

    def read_tensors(path):
        raise AssertionError(f'{path} is read to its end')

    monkeypatch.setattr('mask_dino.hooks.checkpoint_files.load_checkpoint_safely', read_tensors)
    path = str(tmp_path / 'iter_3.pth')
    start = read_start(config(tmp_path, 5, 'InfiniteSampler', 0, resume=True, load_from=path))
    assert start.iteration == 3


def test_compile_compiles_the_transformer_and_stays_out_of_the_checkpoints(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr('mask_dino.cli.runner.compile_layers', lambda *call: calls.append(call))
    setting = dict(mode='default')
    for number, (value, expected) in enumerate([(True, [{}]), (setting, [setting]), (False, [])]):
        calls.clear()
        work_dir = tmp_path / str(number)
        runner = ResumableRunner.from_cfg(config(work_dir, 1, 'DefaultSampler', 0, compile=value))
        runner.train()
        assert calls == [(runner.model, options) for options in expected]
        checkpoint = load_checkpoint_safely(work_dir / 'iter_1.pth')
        assert '\ncompile = ' not in checkpoint['meta']['cfg']
