"""The command that counts operations."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mask_dino.checkpoints.io import build_model

ROOT = Path(__file__).parents[2]
NAMES = ['maskdino_tiny_shapes', 'maskdino_tiny_shapes-semantic']


@pytest.mark.parametrize('name', NAMES)
def test_operations_and_parameters_of_models_of_both_frameworks(name, monkeypatch, capsys):
    path = ROOT / f'configs/maskdino/{name}.py'
    counts = []
    for size in ('256', '256x512'):
        monkeypatch.setattr(sys, 'argv', ['get_flops.py', str(path), '--size', size])
        runpy.run_path(str(ROOT / 'tools/analysis_tools/get_flops.py'), run_name='__main__')
        said, errors = capsys.readouterr()
        assert (said.count('\n'), errors) == (1, '')
        counts.append(float(re.search(r'([\d.]+) GFLOPs', said)[1]))
    assert 0 < counts[0] < counts[1] < 2.1 * counts[0]
    own = sum(p.numel() for p in build_model(Config.fromfile(path)).parameters())
    assert f'{name} at 256 x 512' in said and f'{own / 1e6:.1f} M parameters' in said
