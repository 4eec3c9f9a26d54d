"""What `benchmark_step.py` measures on small models; how long it takes is no matter of tests."""

import json
import subprocess
import sys
from pathlib import Path

import helpers.textbook  # noqa: F401  registers the head
import pytest
import torch
from helpers.tiny import SIZE, build, tiny_config
from mmcv.cnn.bricks.transformer import FFN
from mmengine.config import Config

from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.step import TEST, TRAIN, Subject
from mask_dino.benchmarks.timing import BACKWARD, OPTIMISER, OTHER, PARTS, Spans, watched
from mask_dino.messages import format_table

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device('cpu')
LOAD = Load(64, 96, 3, 2)
CRITERION = {'matcher', 'mask losses', 'other losses'}
NETWORK = {'preprocessing', 'backbone', 'pixel decoder', 'decoder + heads', OTHER}


@pytest.fixture(scope='module')
def subject():
    return Subject(Config(dict(default_scope='mmdet', model=tiny_config())), CPU)


@pytest.mark.parametrize(
    ('mode', 'parts'),
    [(TRAIN, NETWORK | CRITERION | {BACKWARD, OPTIMISER}), (TEST, NETWORK | {'post-processing'})],
)
def test_every_part_is_found(subject, mode, parts):
    found = subject.time(mode, LOAD, seed=0)
    assert set(found) == parts
    assert all(seconds > 0 for seconds in found.values())
    memory = subject.peak(mode, LOAD, seed=0)
    assert memory is None or memory > 0


def test_measuring_leaves_no_trace(subject):
    def attributes():
        return {name: sorted(vars(module)) for name, module in subject.model.named_modules()}

    before, matcher = attributes(), subject.model.panoptic_head.criterion.matcher
    with watched(subject.model, subject.optim_wrapper, Spans(CPU)):
        assert subject.model.panoptic_head.criterion.matcher is not matcher
    assert attributes() == before
    assert subject.model.panoptic_head.criterion.matcher is matcher


def test_measuring_changes_no_training():
    def weights(measured):
        subject = Subject(Config(dict(default_scope='mmdet', model=tiny_config())), CPU)
        if measured:
            subject.time(TRAIN, LOAD, seed=3)
        else:
            torch.manual_seed(3)
            subject.train(subject.make_batch(LOAD, subject.classes, 3))
        return subject.model.state_dict()

    first, second = weights(True), weights(False)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_tool(tmp_path):
    out = tmp_path / 'folder' / 'step.json'
    options = '--sizes 64 32x64 --objects 0 2 --rounds 2 --device cpu --threads 1'
    tool = ROOT / 'tools/analysis_tools/benchmark_step.py'
    config = ROOT / 'configs/maskdino/maskdino_tiny_shapes.py'
    line = [sys.executable, tool, config, *options.split(), '--out', out]
    printed = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    content = json.loads(out.read_text())
    assert (
        content['threads'] == 1
        and content['device']
        and content['versions']['torch'] == torch.__version__
    )
    assert len(content['records']) == 2 * 2 * 2
    for record in content['records']:
        assert record['model'] == 'maskdino_tiny_shapes'
        assert len(record['seconds']) == 2
        assert record['memory'] is None or record['memory'] > 0
        for turn, seconds in enumerate(record['seconds']):
            assert sum(values[turn] for values in record['parts'].values()) == pytest.approx(
                seconds
            )
        assert set(record['parts']) <= {*PARTS, BACKWARD, OPTIMISER, OTHER}
    rows = [line for line in printed.splitlines() if line.startswith('| maskdino_tiny_shapes')]
    assert len(rows) == 8 and sum('32 x 64' in row for row in rows) == 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['missing.py'], 'config missing.py does not exist'),
        (['missing.py', '--amp', 'fp16', '--device', 'cpu'], 'use --amp bf16'),
        (['missing.py', '--sizes', '12by3'], 'HEIGHTxWIDTH'),
    ],
)
def test_wrong_arguments_are_named(options, message):
    tool = ROOT / 'tools/analysis_tools/benchmark_step.py'
    done = subprocess.run(
        [sys.executable, tool, *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and message in done.stderr


def test_tables_are_aligned():
    assert format_table(['a', 'bc'], [['1', '2'], ['333', '4']]).splitlines() == [
        '| a   | bc |',
        '| --- | -- |',
        '| 1   | 2  |',
        '| 333 | 4  |',
    ]


def test_the_network_of_stock_parts_computes_the_same(generator):
    """benchmarks/cpu.sh times it beside ours."""
    ours = build().eval()
    stock = build(type='TextbookHead').eval()
    stock.load_state_dict(ours.state_dict())
    assert any(isinstance(module, FFN) for module in stock.modules())
    images = torch.randn(1, 3, *SIZE, generator=generator)
    with torch.no_grad():
        for found, expected in zip(stock(images), ours(images), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
