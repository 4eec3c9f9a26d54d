"""The small semantic model on Shapes, by the command lines: trained, resumed, fine-tuned, tested."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import MMSegInferencer, inference_model, init_model

from mask_dino.checkpoints.io import build_model
from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / 'configs/maskdino/maskdino_tiny_shapes-semantic.py'


def run(tool: str, *arguments: object, **options: object) -> str:
    """Run a tool and return what it wrote."""
    settings = [f'{name}={value}' for name, value in options.items()]
    command = [
        sys.executable,
        ROOT / 'tools' / tool,
        CONFIG,
        *arguments,
        '--cfg-options',
        *settings,
    ]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def prepared(folder: Path, world: World) -> dict[str, object]:
    """Make a data set; return the options that make the config use it."""
    write_shapes(world, folder)
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    return {f'{loader}.dataset.data_root': folder for loader in loaders}


def metrics(work_dir: Path) -> dict[str, float]:
    """The metrics that the last test left in its working directory."""
    return json.loads(max(work_dir.glob('*/*.json')).read_text())


@pytest.fixture(scope='module')
def short(tmp_path_factory) -> dict[str, object]:
    """Options for a training of two steps on a few images."""
    options = prepared(tmp_path_factory.mktemp('data') / 'shapes', World(train=8, val=3, size=64))
    options |= {
        f'{loader}.num_workers': 0
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
    }
    options |= {
        f'{loader}.persistent_workers': False for loader in ('train_dataloader', 'val_dataloader')
    }
    options |= {'test_dataloader.persistent_workers': False, 'train_dataloader.batch_size': 2}
    return options | {
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'default_hooks.checkpoint.interval': 2,
    }


@pytest.fixture(scope='module')
def trained(short, tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp('trained')
    run('train.py', '--work-dir', work_dir, **short)
    return work_dir


def test_a_training_is_resumed_and_tested_in_windows_and_augmented(trained, short, tmp_path):
    log = run('train.py', '--work-dir', trained, '--resume', **short | {'train_cfg.max_iters': 4})
    assert 'resumed epoch: 0, iter: 2' in log
    checkpoint = trained / 'iter_4.pth'
    windows = dict(mode='slide', crop_size='(48,48)', stride='(16,16)')
    windows = {f'model.test_cfg.{name}': value for name, value in windows.items()}
    for name, flags, options in (('slide', (), windows), ('tta', ('--tta',), {})):
        run('test.py', checkpoint, '--work-dir', tmp_path / name, *flags, **short | options)
        assert 0 <= metrics(tmp_path / name)['mIoU'] <= 100


def test_it_starts_from_a_detector_below_the_classes(short, tmp_path):
    config = Config.fromfile(ROOT / 'configs/maskdino/maskdino_tiny_shapes-panoptic.py')
    detector = build_model(config).state_dict()
    torch.save(dict(state_dict=detector), tmp_path / 'detector.pth')
    log = run('train.py', '--work-dir', tmp_path, **short, load_from=tmp_path / 'detector.pth')
    [line] = [line for line in log.splitlines() if 'tensors fit' in line]
    assert int(line.split(' tensors fit')[0].split()[-1]) > 200
    for name in (
        'decode_head.prediction.class_embed.weight (8, 64) -> (9, 64)',
        'decode_head.queries (2)',
    ):
        assert name in log


def test_mmsegs_inference_works_on_it(trained, short):
    image = next(Path(short['test_dataloader.dataset.data_root'], 'val').glob('*.jpg'))
    checkpoint = str(max(trained.glob('iter_*.pth')))
    result = inference_model(init_model(str(CONFIG), checkpoint, device='cpu'), str(image))
    inferencer = MMSegInferencer(str(CONFIG), checkpoint, device='cpu')
    found = inferencer(str(image), return_vis=True, show=False)
    np.testing.assert_array_equal(found['predictions'], result.pred_sem_seg.data[0].numpy())
    assert found['visualization'].shape == (64, 64, 3)


@pytest.mark.slow
def test_it_learns_the_classes_of_shapes(tmp_path):
    options = prepared(tmp_path / 'shapes', World(train=2000, val=100))
    run('train.py', '--work-dir', tmp_path / 'work', **options)
    iterations = Config.fromfile(CONFIG).train_cfg.max_iters
    run(
        'test.py',
        tmp_path / f'work/iter_{iterations}.pth',
        '--work-dir',
        tmp_path / 'test',
        **options,
    )
    assert metrics(tmp_path / 'test')['mIoU'] > 50
