"""What the machine is, and the tests that run on its device."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import torch

from mask_dino.ops.deformable_attention import has_kernel

TESTS_ON_DEVICE = ['tests/test_gpu.py', 'tests/ops']


def environment_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Yield the properties of the device and of the software for it."""
    yield dict(name='torch', value=torch.__version__)
    yield dict(name='has mmcv kernel', value=device.type != 'cpu' and has_kernel(device))
    if device.type == 'cpu':
        return
    properties = torch.cuda.get_device_properties(device)
    yield dict(name='device', value=properties.name)
    yield dict(name='devices', value=torch.cuda.device_count())
    yield dict(name='memory GB', value=properties.total_memory / 2**30)
    yield dict(name='capability', value=f'{properties.major}.{properties.minor}')
    yield dict(name='CUDA of torch', value=torch.version.cuda)
    yield dict(name='cuDNN', value=torch.backends.cudnn.version())


def test_rows(device: torch.device, small: bool) -> Iterator[dict]:
    """Run the tests for devices and yield how many passed, failed and were skipped."""
    files = TESTS_ON_DEVICE[:1] if small else TESTS_ON_DEVICE
    quiet = ['-q', '--tb=short', '--show-capture=no', '-p', 'no:cacheprovider']
    command = [sys.executable, '-m', 'pytest', *quiet, *files]
    settings = {**os.environ, 'TEST_DEVICE': device.type}
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    print(done.stdout[-6000:])
    for count, outcome in re.findall(r'(\d+) (passed|failed|skipped|errors?)', done.stdout[-300:]):
        yield dict(outcome=outcome, tests=int(count))
    for name in re.findall(r'^(?:FAILED|ERROR) (.*)$', done.stdout, re.MULTILINE):
        yield dict(outcome=name, tests=1)
