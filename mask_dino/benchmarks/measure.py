"""Several models under several loads, interleaved, so that a busy machine is busy for all of them."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import NamedTuple

from mmengine.config import Config
from mmengine.runner import Runner

from .inputs import Load
from .memory import keep_as_usual
from .step import TEST, Subject
from .timing import ORDER, OTHER, POSTPROCESSING


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


def made_up(subject: Subject, load: Load) -> Iterator[dict]:
    """Yield batches without end."""
    seed = 0
    while True:
        yield subject.make_batch(load, subject.classes, seed)
        seed += 1


def from_data(config: Config) -> Iterable[dict]:
    """Return the batches of the test data of a config, of one image each."""
    loader = config.test_dataloader
    loader.batch_size = 1
    batches: Iterable[dict] = Runner.build_dataloader(loader, seed=0)
    return batches


def pace(subject: Subject, batches: Iterable[dict], images: int | None, warmup: int) -> dict:
    """Return the seconds of every image but the first ``warmup``, loading aside, and images a second.

    Args:
        images: How many to measure; None for all there are.
    """
    stop = None if images is None else images + warmup
    parts = [subject.clock(TEST, data) for data in islice(batches, stop)][warmup:]
    whole = [sum(one.values()) for one in parts]
    network = [seconds - one.get(POSTPROCESSING, 0.0) for seconds, one in zip(whole, parts, strict=True)]
    if not whole:
        raise ValueError(f'no image is left behind {warmup} images of warming up: lower the one, or add images')
    return dict(
        images=len(whole),
        fps=len(whole) / sum(whole),
        fps_without_postprocessing=len(whole) / sum(network),
        median_seconds=Spread.of(whole).median,
        seconds=whole,
        seconds_without_postprocessing=network,
    )
