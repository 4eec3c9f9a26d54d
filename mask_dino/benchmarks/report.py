"""Measurements as tables for people and as files."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import torch

from ..messages import format_table
from .measure import Spread

MEGABYTE = 2**20
PACKAGES = ('torch', 'mmcv', 'mmengine', 'mmdet', 'mmseg', 'mask_dino')


def environment(device: torch.device) -> dict:
    """Return where the measurements are made: device, versions, commit, command."""
    return dict(
        device=torch.cuda.get_device_name(device) if device.type == 'cuda' else _processor(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        versions={name: import_module(name).__version__ for name in PACKAGES if name in sys.modules},
        commit=_commit(),
        command=' '.join(sys.argv),
    )


def save(path: Path, device: torch.device, records: Sequence[dict]) -> None:
    """Write measurements and where they were made as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(environment(device) | dict(records=records), indent=1) + '\n')


def step_tables(records: Sequence[dict]) -> Iterator[str]:
    """Return a table in Markdown for every mode: seconds by part and in all, megabytes at the peak."""
    for mode in dict.fromkeys(record['mode'] for record in records):
        chosen = [record for record in records if record['mode'] == mode]
        parts = list(dict.fromkeys(name for record in chosen for name in record['parts']))
        header = ['model', 'image', 'objects', 'batch', *parts, 'seconds', 'peak MB']
        yield f'{mode}\n' + format_table(header, [_step_row(record, parts) for record in chosen])


def _step_row(record: dict, parts: Sequence[str]) -> list[str]:
    times = [f'{Spread.of(record["parts"].get(name, [0.0])).median:.3f}' for name in parts]
    total = Spread.of(record['seconds'])
    memory = '-' if record['memory'] is None else f'{record["memory"] / MEGABYTE:.0f}'
    size = f'{record["height"]} x {record["width"]}'
    seconds = f'{total.median:.3f} ± {total.deviation:.3f}'
    return [record['model'], size, str(record['objects']), str(record['batch']), *times, seconds, memory]


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    names = [line.partition(':')[2].strip() for line in info.read_text().splitlines() if 'model name' in line]
    return f'{names[0]}, {os.cpu_count()} cores' if names else platform.processor()


def _commit() -> str:
    folder = Path(__file__).parent
    described = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'], cwd=folder, capture_output=True, text=True
    )
    return described.stdout.strip() or 'unknown'
