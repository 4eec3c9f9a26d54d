"""Several models under several loads, interleaved, so that a busy machine is busy for all of them."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

from .memory import keep_as_usual
from .parts import ORDER
from .samples import Load
from .spans import OTHER
from .step import Subject


class Case(NamedTuple):
    """What is measured repeatedly."""

    model: str
    mode: str  # train or test
    load: Load


class Measurement(NamedTuple):
    """What steps of a case took."""

    case: Case
    memory: int | None  # bytes; see :meth:`Subject.peak`
    parts: list[dict[str, float]]  # seconds of the parts of every step

    def record(self) -> dict:
        """Return everything that is known, for a file: bytes, and seconds of every step."""
        names = [name for name in (*ORDER, OTHER) if any(step.get(name) for step in self.parts)]
        return dict(
            model=self.case.model,
            mode=self.case.mode,
            **self.case.load._asdict(),
            seconds=[sum(step.values()) for step in self.parts],
            parts={name: [step.get(name, 0.0) for step in self.parts] for name in names},
            memory=self.memory,
        )


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


def measure(subjects: Mapping[str, Subject], cases: Sequence[Case], rounds: int) -> list[Measurement]:
    """Measure the memory of every case, which warms it up, and then its time once a round."""
    found = [Measurement(case, subjects[case.model].peak(case.mode, case.load, seed=0), []) for case in cases]
    keep_as_usual()
    for number, one in product(range(rounds), found):
        one.parts.append(subjects[one.case.model].time(one.case.mode, one.case.load, seed=number))
    return found
