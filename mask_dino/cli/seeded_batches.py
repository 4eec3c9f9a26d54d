"""Training batches whose random numbers do not depend on what was loaded before, from any batch on."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from mmengine.dist import get_rank
from torch.utils.data import BatchSampler, DataLoader

from ..random_state import keeping_random_state, seed_generators


class SkippingIterator:
    """The batches of a resumed training loop: those that the stopped training has seen are counted, but not loaded."""

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
    """The indices of a batch, with the seed of its random numbers.

    torch iterates over the indices to load the images, in a loader process or in the training process. Random numbers
    that are drawn meanwhile come from the seed. Afterwards, the generators continue as if nothing had been drawn.
    """

    def __init__(self, indices: Sequence[int], entropy: tuple[int, ...]) -> None:
        super().__init__(indices)
        self.entropy = entropy

    def __iter__(self) -> Iterator[int]:
        with keeping_random_state():
            seed_generators(self.entropy)
            yield from self[:]

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
