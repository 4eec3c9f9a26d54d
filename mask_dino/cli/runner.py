"""A runner whose trainings, after a stop, continue with the results of a training that was never stopped."""

import ctypes
import functools
import itertools
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner
from torch.utils.data import BatchSampler, DataLoader

from ..checkpoints import load_checkpoint_safely
from ..checkpoints.training_state import check_training_state
from ..hooks.checkpoint_files import (
    checkpoint_folder,
    find_newest_checkpoint,
)
from ..hooks.resume_state import RandomState, seed_generators
from ..messages import is_url
from .console import log_prints, quiet_console

SET_PARENT_DEATH_SIGNAL = 1
"""The first argument of Linux' prctl."""


class Start(NamedTuple):
    """Where a resumed training starts."""

    iteration: int
    seed: int | None


@RUNNERS.register_module()
class ResumableRunner(Runner):
    """mmengine's Runner, with data loaders that can start in the middle of a training.

    Differs from mmengine's: the random numbers of a batch depend on the seed, the rank and the number of the batch, not
    on the number of loader processes or on what they did before; a resumed training starts with the first batch that
    was not seen, and does not load all batches before it; loader processes end with the training, however it ends.
    """

    is_building_training = False
    start = Start(0, None)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Build the logger, whose console leaves the details to the log file."""
        logger: MMLogger = super().build_logger(log_level, log_file, **kwargs)
        quiet_console(logger)
        return logger

    def build_evaluator(self, evaluator: dict | list | Evaluator) -> Evaluator:
        """Build an evaluator; what it prints goes to the log file."""
        with log_prints(self.logger):
            built: Evaluator = super().build_evaluator(evaluator)
        return built

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict:
        """Load a checkpoint; `CheckCheckpointHook` reports on it, so mmengine's list goes to the log file."""
        with log_prints(self.logger):
            checkpoint: dict = super().load_checkpoint(filename, *args, **kwargs)
        return checkpoint

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop, which starts where the checkpoint to be resumed was saved.

        Raises:
            CheckpointError: The checkpoint to be resumed cannot be read.
        """
        self.start = read_start(self.cfg)
        self.is_building_training = True
        train_loop: BaseLoop = super().build_train_loop(loop)
        self.is_building_training = False
        seeded = isinstance(train_loop.dataloader.batch_sampler, SeededBatchSampler)
        if seeded and isinstance(train_loop, IterBasedTrainLoop):
            train_loop.dataloader_iterator = SkippingIterator(
                train_loop.dataloader_iterator, self.start.iteration
            )
        return train_loop

    def build_dataloader(
        self, dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a data loader."""
        if self.start.seed is not None:
            seed = self.start.seed
        with log_prints(self.logger):
            loader: DataLoader = super().build_dataloader(dataloader, seed, diff_rank_seed)
        if self.is_building_training and isinstance(dataloader, dict):
            loader = seed_batches(loader, seed or 0, self.start.iteration)
        # Its own generator: then starting the loader processes draws no random number of the training.
        loader.generator = torch.Generator()
        configured = loader.worker_init_fn
        loader.worker_init_fn = functools.partial(start_worker, following=configured)
        return loader


def read_start(config: Config) -> Start:
    """Return where a training starts: at its beginning, or where the checkpoint to be resumed was saved.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        CheckpointError: The checkpoint cannot be read, or none of the directory can.
    """
    path = config.get('load_from')
    if config.get('resume') and not path:
        path, _ = find_newest_checkpoint(checkpoint_folder(config))
    if not config.get('resume') or path is None or is_url(str(path)):
        return Start(0, None)
    checkpoint = load_checkpoint_safely(Path(path))
    check_training_state(checkpoint, path)
    meta = checkpoint['meta']
    return Start(meta['iter'], meta.get('seed'))


class SkippingIterator:
    """The batches of a training loop that counts the batches of the stopped training again, without loading them."""

    def __init__(self, batches: Iterator[Any], num_seen: int) -> None:
        self.batches = batches
        self.num_to_skip = num_seen

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.num_to_skip:
            self.num_to_skip -= 1
            return None
        return next(self.batches)


class SeededBatch(list[int]):
    """Indices of a batch that bring the seed of its random numbers.

    torch iterates over the indices to load the images, in a loader process or in the training process. Random numbers
    that are drawn meanwhile come from the seed. Afterwards, the generators continue as if nothing had been drawn.
    """

    def __init__(self, indices: Sequence[int], entropy: tuple[int, ...]) -> None:
        super().__init__(indices)
        self.entropy = entropy

    def __iter__(self) -> Iterator[int]:
        state = RandomState.capture()
        seed_generators(self.entropy)
        try:
            yield from self[:]
        finally:
            state.restore()

    def __reduce__(self) -> tuple:
        return SeededBatch, (self[:], self.entropy)


@runtime_checkable
class HasEpoch(Protocol):
    """A sampler whose order depends on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch."""


class SeededBatchSampler(BatchSampler):
    """Batches of another batch sampler, each with random numbers of its own, from a given batch on.

    Args:
        batch_sampler: The batch sampler.
        seed: Seed of the training.
        num_seen: Number of batches, over all epochs, that a stopped training has seen: these are skipped.
    """

    def __init__(self, batch_sampler: BatchSampler, seed: int, num_seen: int = 0) -> None:
        super().__init__(batch_sampler.sampler, batch_sampler.batch_size, batch_sampler.drop_last)
        self.batch_sampler = batch_sampler
        self.entropy = (seed, get_rank())
        self.num_to_skip = num_seen
        self.position = 0
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[int]]:
        batches = self.skip(self.start_epoch())
        for indices in batches:
            entropy = (*self.entropy, self.position)
            self.position += 1
            yield SeededBatch(indices, entropy)

    def start_epoch(self) -> Iterator[list[int]]:
        """Return the batches of the next epoch."""
        if isinstance(self.sampler, HasEpoch):
            self.sampler.set_epoch(self.epoch)
        self.epoch += 1
        return iter(self.batch_sampler)

    def skip(self, batches: Iterator[list[int]]) -> Iterator[list[int]]:
        """Return the batches after those to be skipped, which may begin in a later epoch."""
        while self.num_to_skip:
            num_skipped = sum(1 for _ in itertools.islice(batches, self.num_to_skip))
            self.num_to_skip -= num_skipped
            self.position += num_skipped
            following = next(batches, None)
            if following is not None:
                return itertools.chain([following], batches)
            batches = self.start_epoch()
            if not len(self):
                break
        return batches


def seed_batches(loader: DataLoader, seed: int, num_seen: int) -> DataLoader:
    """Return the same loader with a `SeededBatchSampler`."""
    batch_sampler: Any = loader.batch_sampler
    return DataLoader(
        loader.dataset,
        batch_sampler=SeededBatchSampler(batch_sampler, seed, num_seen),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )


def start_worker(worker_id: int, following: Callable[[int], None] | None) -> None:
    """End a loader process when the training ends, and go on as configured."""
    end_with_parent()
    if following is not None:
        following(worker_id)


def end_with_parent() -> None:
    """Have Linux kill this process when the process that started it ends; elsewhere, do nothing."""
    if sys.platform.startswith('linux'):
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
