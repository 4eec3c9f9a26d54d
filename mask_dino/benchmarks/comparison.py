"""Several models under several loads, interleaved, so that a busy machine is busy for all of them."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from .parts import ORDER
from .samples import Load
from .spans import OTHER
from .step import Step, Subject


class Case(NamedTuple):
    """What is measured repeatedly."""

    model: str
    mode: str  # train or test
    load: Load


class Spread(NamedTuple):
    """The middle of repeated measurements, and half the distance between their quartiles."""

    median: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Spread':
        """Summarise one value or more."""
        if len(values) < 2:
            return cls(values[0], 0.0)
        first, middle, third = statistics.quantiles(values, n=4, method='inclusive')
        return cls(middle, (third - first) / 2)


def measure(
    subjects: Mapping[str, Subject], cases: Sequence[Case], rounds: int, warmup: int
) -> Iterator[tuple[Case, Step]]:
    """Measure every case once a round; rounds for warming up come first and are not returned."""
    for number, case in product(range(warmup + rounds), cases):
        step = subjects[case.model].measure(case.mode, case.load, seed=number)
        if number >= warmup:
            yield case, step


def parts_of(steps: Sequence[Step]) -> list[str]:
    """Return the names of the parts that took time, in the order of a step."""
    return [name for name in (*ORDER, OTHER) if any(step.parts.get(name) for step in steps)]


def record(case: Case, steps: Sequence[Step]) -> dict:
    """Return everything that is known of one case, for a file: seconds and bytes, every measurement."""
    return dict(
        model=case.model,
        mode=case.mode,
        **case.load._asdict(),
        seconds=[step.seconds for step in steps],
        parts={name: [step.parts.get(name, 0.0) for step in steps] for name in parts_of(steps)},
        memory=[step.memory for step in steps],
    )
