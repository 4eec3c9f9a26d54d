"""The tools themselves: a training in mixed precision, its continuation, and its test."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from gpu.speed import SMALL
from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes

ROOT = Path(__file__).resolve().parents[4]
STEPS = 60
STEPS_OF_SMALL = 2


def training_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield the exit codes of the tools, and the last line of those that fail."""
    steps = STEPS_OF_SMALL if small else STEPS
    with tempfile.TemporaryDirectory() as folder:
        write_shapes(World(train=40, val=8), Path(folder) / 'data/shapes')
        for name, arguments in list_commands(steps).items():
            start = time.monotonic()
            done = run_tool(arguments, folder, device)
            seconds = time.monotonic() - start
            lines = done.stderr.strip().splitlines() or ['']
            message = lines[-1] if done.returncode else ''
            yield dict(tool=name, exit_code=done.returncode, seconds=seconds, message=message)


def list_commands(steps: int) -> dict[str, list[str]]:
    """Return the arguments of Python for each tool."""
    config = str(ROOT / SMALL['panoptic'])
    train = [str(ROOT / 'tools/train.py'), config, '--amp', '--work-dir', 'work']
    interval = ['--cfg-options', f'train_cfg.val_interval={steps}']
    checkpoint = f'work/iter_{2 * steps}.pth'
    return {
        'train.py --amp': [*train, *interval, f'train_cfg.max_iters={steps}'],
        'train.py --resume': [*train, '--resume', *interval, f'train_cfg.max_iters={2 * steps}'],
        'test.py': [str(ROOT / 'tools/test.py'), config, checkpoint, '--work-dir', 'test'],
    }


def run_tool(
    arguments: list[str], folder: str, device: torch.device
) -> subprocess.CompletedProcess[str]:
    """Run a tool in a folder that has the data where the configs look for them."""
    settings = dict(os.environ)
    if device.type == 'cpu':
        settings['CUDA_VISIBLE_DEVICES'] = ''
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
