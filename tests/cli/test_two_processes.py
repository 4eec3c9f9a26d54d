"""A training of two processes that is stopped and resumed ends with the bits of one that was not."""

import itertools
import os
import shutil
import time
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers.line import line_config

from mask_dino.checkpoints import load_checkpoint_safely
from mask_dino.cli.common import run_tool
from mask_dino.cli.runner import ResumableRunner

STEPS, STOP = 4, 2
COUNTS = 1, 3


def train(rank: int, folder: Path) -> None:
    """Train as one of two processes: straight on, and then again from a checkpoint in the middle.

    Once with a step for every batch, and once with the gradients of three batches added up.
    """
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    loader = dict(dataset=dict(type='NoisyPoints'))
    options = dict(model=dict(type='NoisyLine'), train_dataloader=loader, launcher='pytorch')
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    with patch('mmengine.runner.runner.collect_env', dict):
        for counts, name in itertools.product(COUNTS, ('straight', 'resumed')):
            work_dir = folder / str(counts) / name
            config = line_config(work_dir, STEPS, resume=name == 'resumed', **options)
            config.optim_wrapper.accumulative_counts = counts
            config.model_wrapper_cfg = wrapper
            ResumableRunner.from_cfg(config).train()
            if rank == 0 and name == 'straight':
                work_dir.with_name('resumed').mkdir()
                middle = work_dir / f'iter_{STOP}.pth'
                shutil.copy(middle, work_dir.with_name('resumed'))
            dist.barrier()
    dist.destroy_process_group()


def test_two_processes_resume_to_the_bit(tmp_path: Path):
    mp.spawn(train, args=(tmp_path,), nprocs=2)
    for counts in COUNTS:
        first, second = (
            load_checkpoint_safely(tmp_path / str(counts) / name / f'iter_{STEPS}.pth')
            for name in ('straight', 'resumed')
        )
        resumed = tmp_path / str(counts) / 'resumed'
        assert sorted(path.name for path in resumed.glob('iter_*.pth')) == [
            f'iter_{step}.pth' for step in range(STOP, STEPS + 1)
        ]
        # Gradients that wait are saved as the mean of the processes, and the order of a sum decides about its last bit.
        tolerance = 0 if counts == 1 else 1e-6
        for part in ('state_dict', 'ema_state_dict'):
            for name, value in first[part].items():
                torch.testing.assert_close(
                    second[part][name], value, rtol=tolerance, atol=tolerance, msg=name
                )
        assert len(first['resume_state']['random_states']) == 2


TIMEOUT = timedelta(seconds=1)


def wait_for_the_other(rank: int, folder: Path) -> None:
    """As one of two processes, of which the second no longer answers, write how the tool ends."""
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    group = dist.new_group(timeout=TIMEOUT)
    dist.barrier()
    if rank == 1:
        time.sleep(3)
        return
    try:
        run_tool(lambda: dist.all_reduce(torch.ones(1), group=group))
    except SystemExit as end:
        (folder / 'end.txt').write_text(str(end.code))


def test_a_process_that_hangs_ends_the_others_with_a_sentence(tmp_path: Path):
    mp.start_processes(wait_for_the_other, (tmp_path,), nprocs=2, start_method='fork')
    said = (tmp_path / 'end.txt').read_text()
    assert said.startswith('error: another process of this run has ended or no longer answers')
    assert '--resume' in said
