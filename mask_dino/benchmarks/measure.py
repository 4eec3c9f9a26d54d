"""Measure several models under several loads, and write the measurements as tables and JSON files."""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice, product
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from ..messages import DataError, format_table
from .inputs import Load
from .step import TEST, Subject, keep_as_usual
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
    def summarise(cls, values: Sequence[float]) -> 'Spread':
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
        subject = subjects[case.model]
        memory = subject.peak(case.mode, case.load, seed=0)
        measurements.append(Measurement(case, memory, []))
    keep_as_usual()
    for number, measurement in product(range(rounds), measurements):
        case = measurement.case
        subject = subjects[case.model]
        seconds = subject.time(case.mode, case.load, seed=number)
        measurement.parts.append(seconds)
    return measurements


def generate_batches(subject: Subject, load: Load) -> Iterator[dict]:
    """Yield generated batches without end."""
    seed = 0
    while True:
        yield subject.make_batch(load, subject.classes, seed)
        seed += 1


def load_batches(config: Config) -> Iterable[dict]:
    """Return the batches of the test data of a config; every batch has one image.

    Raises:
        DataError: The config has no test data, or a file of them does not exist.
    """
    if 'test_dataloader' not in config:
        raise DataError('the config has no test_dataloader, which names the test data')
    loader = config.test_dataloader
    loader.batch_size = 1
    try:
        batches: Iterable[dict] = Runner.build_dataloader(loader, seed=0)
    except FileNotFoundError as error:
        raise DataError(f'the test data of the config: {error}') from error
    return batches


def measure_fps(subject: Subject, batches: Iterable[dict], images: int | None, warmup: int) -> dict:
    """Return the seconds of every image and the images per second, without the time to load images.

    Args:
        batches: Batches of one image.
        images: How many to measure; None for all.
        warmup: How many images run first and are not counted.

    Raises:
        DataError: There are no more than ``warmup`` images.
    """
    stop = None if images is None else images + warmup
    parts = [subject.clock(TEST, data) for data in islice(batches, stop)][warmup:]
    whole = [sum(one.values()) for one in parts]
    network = [
        seconds - one.get(POSTPROCESSING, 0.0) for seconds, one in zip(whole, parts, strict=True)
    ]
    if not whole:
        raise DataError(
            f'there is no image after the {warmup} images of the warm-up: lower --warmup, or add images'
        )
    return dict(
        images=len(whole),
        fps=len(whole) / sum(whole),
        fps_without_postprocessing=len(whole) / sum(network),
        median_seconds=Spread.summarise(whole).median,
        seconds=whole,
        seconds_without_postprocessing=network,
    )


MEGABYTE = 2**20
RECORDED_PACKAGES = ('torch', 'mmcv', 'mmengine', 'mmdet', 'mmseg', 'mask_dino')


def environment(device: torch.device) -> dict:
    """Return the conditions of the measurements: device, versions, commit, command."""
    return dict(
        device=torch.cuda.get_device_name(device) if device.type == 'cuda' else _processor(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        versions={
            name: import_module(name).__version__
            for name in RECORDED_PACKAGES
            if name in sys.modules
        },
        commit=_commit(),
        command=' '.join(sys.argv),
    )


def save(path: Path, device: torch.device, records: Sequence[dict]) -> None:
    """Write measurements and their conditions as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(environment(device) | dict(records=records), indent=1) + '\n')


def step_tables(records: Sequence[dict]) -> Iterator[str]:
    """Yield a table in Markdown for every mode: seconds of each part and of the step, and the peak memory in MB."""
    modes = _without_repetitions(record['mode'] for record in records)
    for mode in modes:
        of_mode = [record for record in records if record['mode'] == mode]
        parts = _without_repetitions(name for record in of_mode for name in record['parts'])
        header = ['model', 'image', 'objects', 'batch', *parts, 'seconds', 'peak MB']
        rows = [_step_row(record, parts) for record in of_mode]
        table = format_table(header, rows)
        yield f'{mode}\n{table}'


def _without_repetitions(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _step_row(record: dict, parts: Sequence[str]) -> list[str]:
    size = f'{record["height"]} x {record["width"]}'
    step = Spread.summarise(record['seconds'])
    memory = record['memory']
    return [
        record['model'],
        size,
        str(record['objects']),
        str(record['batch']),
        *(_part_seconds(record, name) for name in parts),
        f'{step.median:.3f} ± {step.deviation:.3f}',
        '-' if memory is None else f'{memory / MEGABYTE:.0f}',
    ]


def _part_seconds(record: dict, part: str) -> str:
    seconds = record['parts'].get(part, [0.0])
    return f'{Spread.summarise(seconds).median:.3f}'


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    names = [
        line.partition(':')[2].strip()
        for line in info.read_text().splitlines()
        if 'model name' in line
    ]
    return f'{names[0]}, {os.cpu_count()} cores' if names else platform.processor()


def _commit() -> str:
    folder = Path(__file__).parent
    described = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() or 'unknown'
