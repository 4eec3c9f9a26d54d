"""What `benchmark_loading.py` tells of a pipeline."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_every_transform_is_timed(tmp_path):
    out = tmp_path / 'loading.json'
    config = ROOT / 'configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco.py'
    line = [
        sys.executable,
        ROOT / 'tools/analysis_tools/benchmark_loading.py',
        config,
        '--size',
        '64x96',
    ]
    line += ['--images', '4', '--objects', '2', '--out', out]
    printed = subprocess.run(
        line, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    [record] = json.loads(out.read_text())['records']
    names = [
        'LoadImageFromFile',
        'LoadAnnotations',
        'RandomFlip',
        'RandomResize',
        'RandomCrop',
        'FilterAnnotations',
    ]
    assert [name for name in record['parts'] if name != 'other'] == [*names, 'Pad', 'PackDetInputs']
    speed = float(printed[-1].split()[0])
    assert speed == pytest.approx(4 / sum(record['parts'].values()), abs=0.06)
