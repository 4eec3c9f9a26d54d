"""What `benchmark_fps.py` counts on a small model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.coco_folder import coco_content, dataset_config, write_coco
from helpers.tiny import tiny_config
from mmengine.config import Config

from mask_dino.benchmarks.inputs import Load
from mask_dino.benchmarks.measure import generate_batches, load_batches, measure_fps
from mask_dino.benchmarks.step import Subject

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools/analysis_tools/benchmark_fps.py'
CONFIG = ROOT / 'configs/maskdino/maskdino_tiny_shapes.py'


def run(*options):
    line = [sys.executable, TOOL, CONFIG, *options, '--device', 'cpu', '--threads', '1']
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


def test_generated_images(tmp_path):
    out = tmp_path / 'fps.json'
    done = run('--size', '64x96', '--images', '3', '--warmup', '1', '--out', out)
    assert done.returncode == 0, done.stderr
    [record] = json.loads(out.read_text())['records']
    assert record['images'] == len(record['seconds']) == 3
    assert record['fps'] == pytest.approx(3 / sum(record['seconds']))
    assert record['fps'] < record['fps_without_postprocessing']
    assert f'{record["fps"]:.3f}' in done.stdout.splitlines()[-1]


def test_batches_are_counted_after_warming_up():
    subject = Subject(Config(dict(default_scope='mmdet', model=tiny_config())), torch.device('cpu'))
    batches = generate_batches(subject, Load(64, 128, 1, 1))
    assert (
        measure_fps(subject, [next(batches) for _ in range(4)], images=None, warmup=1)['images']
        == 3
    )
    with pytest.raises(ValueError, match='warm-up'):
        measure_fps(subject, [], images=2, warmup=1)


def test_the_data_of_the_config_are_read_one_by_one(tmp_path):
    write_coco(tmp_path, coco_content(num_images=3))
    config = Config.fromfile(CONFIG)
    pipeline = config.test_dataloader.dataset.pipeline
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    config.test_dataloader.dataset = dataset_config(tmp_path, test_mode=True, pipeline=pipeline)
    found = measure_fps(
        Subject(config, torch.device('cpu')), load_batches(config), images=None, warmup=1
    )
    assert found['images'] == 2


def test_a_missing_checkpoint_is_named():
    done = run('missing.pth')
    assert done.returncode == 2 and 'checkpoint missing.pth does not exist' in done.stderr
