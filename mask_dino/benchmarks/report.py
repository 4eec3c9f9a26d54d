"""Write measurements as tables and as JSON files."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import torch

from ..messages import format_table
from .measure import Spread

MEGABYTE = 2**20
PACKAGES = ('torch', 'mmcv', 'mmengine', 'mmdet', 'mmseg', 'mask_dino')


def environment(device: torch.device) -> dict:
    """Return the conditions of the measurements: device, versions, commit, command."""
    return dict(
        device=torch.cuda.get_device_name(device) if device.type == 'cuda' else _processor(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        versions={
            name: import_module(name).__version__ for name in PACKAGES if name in sys.modules
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
    step = Spread.of(record['seconds'])
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
    return f'{Spread.of(seconds).median:.3f}'


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
