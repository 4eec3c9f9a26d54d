"""A training step in several processes over nccl, one per GPU."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel

from gpu.speed import SMALL
from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.step import Subject

STEPS = 3


def process_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield what the processes find after some steps: equal weights, and finite losses."""
    num_processes = min(2, torch.cuda.device_count()) if device.type == 'cuda' else 2
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(train_in_process, (num_processes, device.type, folder), num_processes)
        results = [torch.load(Path(folder) / f'{rank}.pth') for rank in range(num_processes)]
    backend = choose_backend(device.type)
    first = results[0]['weights']
    yield dict(
        backend=backend,
        processes=num_processes,
        loss=results[0]['loss'],
        finite=all(torch.isfinite(torch.tensor(result['loss'])).item() for result in results),
        equal_weights=all(result['weights'].equal(first) for result in results),
    )


def choose_backend(device_type: str) -> str:
    """Return the backend of a type of device."""
    return 'nccl' if device_type == 'cuda' else 'gloo'


def train_in_process(rank: int, num_processes: int, device_type: str, folder: str) -> None:
    """Train the small model on images of this process, and write its loss and weights."""
    MMLogger.get_current_instance().setLevel('ERROR')
    if device_type == 'cuda':
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(1)
    dist.init_process_group(
        choose_backend(device_type),
        init_method=f'file://{folder}/rendezvous',
        rank=rank,
        world_size=num_processes,
    )
    device = torch.device(device_type, rank if device_type == 'cuda' else None)
    subject = Subject(Config.fromfile(SMALL['instance']), device)
    ids = [rank] if device_type == 'cuda' else None
    subject.model = MMDistributedDataParallel(subject.model, device_ids=ids)
    subject.model.train()
    for step in range(STEPS):
        seed = step * num_processes + rank
        data = subject.make_batch(Load(64, 96, 3, 2), subject.classes, seed)
        losses = subject.model.train_step(data, subject.optim_wrapper)
    weights = torch.cat([weight.detach().flatten() for weight in subject.model.parameters()])
    result = dict(loss=losses['loss'].item(), weights=weights.cpu())
    torch.save(result, f'{folder}/{rank}.pth')
    dist.destroy_process_group()
