"""The state of the random numbers of a process: saved, restored, seeded."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class RandomState(NamedTuple):
    """The states of the global generators of Python, numpy and torch, in types that checkpoints hold."""

    python: tuple[int, Tensor, float | None]  # version, words, the second of two normal numbers
    # Words, position, whether there is a second normal number, that number.
    numpy: tuple[Tensor, int, int, float]
    torch: Tensor
    accelerator: Tensor | None  # of the current device

    @classmethod
    def capture(cls) -> 'RandomState':
        """Return the present state of this process."""
        version, words, second_normal = random.getstate()
        _, keys, position, has_normal, normal = np.random.get_state()
        numpy_words = torch.from_numpy(np.asarray(keys).astype(np.int64))
        return cls(
            python=(version, torch.tensor(words), second_normal),
            numpy=(numpy_words, int(position), int(has_normal), float(normal)),
            torch=torch.get_rng_state(),
            accelerator=torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        )

    @classmethod
    def from_checkpoint(cls, state: dict[str, Any]) -> 'RandomState':
        """Read what `_asdict` wrote; the tensors may lie on any device."""
        return cls(**state)

    def restore(self) -> None:
        """Set the generators of this process to these states."""
        version, words, second_normal = self.python
        random.setstate((version, tuple(words.tolist()), second_normal))
        keys, position, has_normal, normal = self.numpy
        position = min(max(position, 0), len(keys))  # numpy would read memory behind the words
        np.random.set_state(
            ('MT19937', keys.cpu().numpy().astype(np.uint32), position, has_normal, normal)
        )
        torch.set_rng_state(self.torch.cpu())
        if self.accelerator is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.accelerator.cpu())


def seed_generators(entropy: Sequence[int]) -> None:
    """Seed the generators of Python, numpy and torch's CPU from a few numbers."""
    python, numpy, torch_cpu = np.random.SeedSequence(entropy).generate_state(3).tolist()
    random.seed(python)
    np.random.seed(numpy)
    torch.default_generator.manual_seed(torch_cpu)


@contextmanager
def keeping_random_state() -> Iterator[None]:
    """Draw random numbers in the body of the statement without an effect on those that follow."""
    state = RandomState.capture()
    try:
        yield
    finally:
        state.restore()
