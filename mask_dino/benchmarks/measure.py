"""Measure several models under several loads; they take turns, so that other load on the machine affects all."""

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
    """A model, a mode and a load, which are measured several times."""

    model: str
    mode: str  # train or test
    load: Load


class Measurement(NamedTuple):
    """The memory and the times of the steps of a case."""

    case: Case
    memory: int | None  # bytes; see :meth:`Subject.peak`
    parts: list[dict[str, float]]  # seconds of the parts of every step

    def record(self) -> dict:
        """Return everything for a file: bytes, and the seconds of every step."""
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
    """The median of repeated measurements, and half the distance between their quartiles."""

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
    subjects: Mapping[str, Subject], cases: Sequence[Case], rounds: int
) -> list[Measurement]:
    """Measure the memory of every case, which warms it up, and then its time once per round."""
    measurements = []
    for case in cases:
        memory = subjects[case.model].peak(case.mode, case.load, seed=0)
        measurements.append(Measurement(case, memory, []))
    keep_as_usual()
    for number, measurement in product(range(rounds), measurements):
        case = measurement.case
        seconds = subjects[case.model].time(case.mode, case.load, seed=number)
        measurement.parts.append(seconds)
    return measurements


def generate_batches(subject: Subject, load: Load) -> Iterator[dict]:
    """Yield generated batches without end."""
    seed = 0
    while True:
        yield subject.make_batch(load, subject.classes, seed)
        seed += 1


def load_batches(config: Config) -> Iterable[dict]:
    """Return the batches of the test data of a config; every batch has one image."""
    loader = config.test_dataloader
    loader.batch_size = 1
    batches: Iterable[dict] = Runner.build_dataloader(loader, seed=0)
    return batches


def measure_fps(subject: Subject, batches: Iterable[dict], images: int | None, warmup: int) -> dict:
    """Return the seconds of every image and the images per second, without the time to load images.

    Args:
        batches: Batches of one image.
        images: How many to measure; None for all.
        warmup: How many images run first and are not counted.

    Raises:
        ValueError: There are no more than ``warmup`` images.
    """
    stop = None if images is None else images + warmup
    parts = [subject.clock(TEST, data) for data in islice(batches, stop)][warmup:]
    whole = [sum(one.values()) for one in parts]
    network = [
        seconds - one.get(POSTPROCESSING, 0.0) for seconds, one in zip(whole, parts, strict=True)
    ]
    if not whole:
        raise ValueError(
            f'there is no image after the {warmup} images of the warm-up: lower --warmup, or add images'
        )
    return dict(
        images=len(whole),
        fps=len(whole) / sum(whole),
        fps_without_postprocessing=len(whole) / sum(network),
        median_seconds=Spread.of(whole).median,
        seconds=whole,
        seconds_without_postprocessing=network,
    )
