"""What `benchmark_postprocessing.py` compares, on small masks."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_kind_is_measured_on_both_sides(tmp_path):
    out = tmp_path / 'post.json'
    options = [
        '--size',
        '64x90',
        '--queries',
        '20',
        '--found',
        '5',
        '--rounds',
        '2',
        '--device',
        'cpu',
        '--threads',
        '1',
    ]
    line = [
        sys.executable,
        ROOT / 'tools/analysis_tools/benchmark_postprocessing.py',
        *options,
        '--out',
        out,
    ]
    printed = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    records = json.loads(out.read_text())['records']
    kinds = [
        (kind, side) for kind in ('instance', 'panoptic', 'semantic') for side in ('ours', 'theirs')
    ]
    assert [(record['mode'], record['model']) for record in records] == kinds
    for record in records:
        assert len(record['seconds']) == 2 and min(record['seconds']) > 0
        assert record['memory'] is None or record['memory'] >= 0
    assert sum(line.startswith(('| ours', '| theirs')) for line in printed.splitlines()) == 6


def test_wrong_sizes_are_named():
    line = [
        sys.executable,
        ROOT / 'tools/analysis_tools/benchmark_postprocessing.py',
        '--size',
        'large',
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and 'HEIGHTxWIDTH' in done.stderr
