"""The tools of analysis and the benchmarks name wrong arguments in one line, without a traceback."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from mask_dino.cli.common import run_tool

ROOT = Path(__file__).resolve().parents[2]
TINY = str(ROOT / 'configs/maskdino/maskdino_tiny_shapes.py')
SEMANTIC = str(ROOT / 'configs/maskdino/maskdino_tiny_shapes-semantic.py')
UNKNOWN = ['--cfg-options', 'model.panoptic_head.decoder.colour=red']
CPU = ['--device', 'cpu']


def run(name, options, monkeypatch, capsys):
    """Run a tool in this process; return what it exits with, and what it says."""
    folder = 'projects/mask_dino/benchmarks' if name == 'deployment' else 'tools/analysis_tools'
    path = ROOT / folder / f'{name}.py'
    specification = importlib.util.spec_from_file_location(f'tool_{name}', path)
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    monkeypatch.setattr(sys, 'argv', [name, *options])
    monkeypatch.setattr('mask_dino.cli.benchmarks.keep_nothing', lambda: None)
    with pytest.raises(SystemExit) as left:
        run_tool(tool.main)
    said = left.value.code if isinstance(left.value.code, str) else capsys.readouterr().err
    return said.splitlines()[-1]


@pytest.mark.parametrize(
    ('tool', 'options', 'message'),
    [
        ('benchmark_step', [TINY, '--rounds', '0'], '--rounds: 0: give 1 or more'),
        (
            'benchmark_step',
            [TINY, '--cfg-options', 'model'],
            '--cfg-options: model: write KEY=VALUE',
        ),
        ('benchmark_step', [TINY, '--objects', '-3'], '--objects: -3: give 0 or more'),
        ('benchmark_step', [TINY, '--sizes', '0x64'], '--sizes: 0x64: write a size in pixels'),
        ('benchmark_step', [TINY, '--device', 'abacus'], '--device abacus: use cpu'),
        ('benchmark_step', [TINY, TINY, *CPU], 'two configs are named maskdino_tiny_shapes'),
        ('benchmark_step', [TINY, *CPU, *UNKNOWN], 'cannot be built: TypeError.*colour'),
        ('benchmark_step', [TINY, *CPU, '--out', '/'], '--out /: this is a folder'),
        ('benchmark_step', [str(ROOT / 'README.md')], 'README.md cannot be read'),
        ('benchmark_step', ['mmdet::dino/none.py'], 'mmdet::dino/none.py cannot be read'),
        ('benchmark_step', ['mask_dino::none', *CPU], 'mask_dino::none cannot be read'),
        ('benchmark_fps', [TINY, '--images', '0'], '--images: 0: give 1 or more'),
        ('benchmark_fps', [TINY, '--warmup', '-1'], '--warmup: -1: give 0 or more'),
        ('benchmark_fps', [TINY, 'none.pth', *CPU], 'checkpoint none.pth does not exist'),
        ('benchmark_fps', [TINY, *CPU, '--data'], 'instances_val.json does not exist; correct'),
        ('benchmark_loading', [TINY, '--images', '0'], '--images: 0: give 1 or more'),
        ('benchmark_loading', [SEMANTIC, *CPU], 'has no .*pipeline of MMDetection'),
        ('benchmark_postprocessing', ['--queries', '0'], '--queries: 0: give 1 or more'),
        ('benchmark_average_precision', ['--images', 'two'], "invalid positive value: 'two'"),
        ('benchmark_panoptic_metrics', ['--segments', '900'], '--segments 900: give 133 or less'),
        ('benchmark_annotations', ['--points', '0'], '--points: 0: give 1 or more'),
        ('get_flops', [TINY, '--size', '-32'], '--size'),
        ('get_flops', [TINY, *UNKNOWN], 'cannot be built: TypeError.*colour'),
        ('browse_predictions', [TINY, 'x.pth', '--count', '0'], '--count: 0: give 1 or more'),
        ('inspect_layers', [TINY, 'x.pth', 'a.jpg', '--rows', '0'], '--rows 0: give 1 or more'),
        ('deployment', [TINY, 'none.pth', 'none.onnx'], 'checkpoint none.pth does not exist'),
        ('deployment', [TINY, TINY, 'none.onnx'], 'exported file none.onnx does not exist'),
        ('deployment', [TINY, TINY, TINY], 'give a file that ends in .onnx, .xml or .pt2'),
        ('deployment', [TINY, TINY, TINY, '--sizes', '9x'], '--sizes: 9x: write HEIGHTxWIDTH'),
        ('deployment', [TINY, TINY, TINY, '--rounds', '0'], '--rounds: 0: give 1 or more'),
    ],
)
def test_a_wrong_argument_is_named(tool, options, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    said = run(tool, options, monkeypatch, capsys)
    assert re.search(message, said), said
