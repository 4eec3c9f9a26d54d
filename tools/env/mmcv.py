"""Compile mmcv once for each torch, and keep the wheel for every environment of this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from .shell import fail, run, say
from .venv import Venv

# What a wheel depends on besides torch's version, and where the headers are that compiling needs.
FACTS = """
import sys, sysconfig, torch
print(f'py3.{sys.version_info[1]}-{"cuda" if torch.cuda.is_available() else "cpu"}')
print(sysconfig.get_path('include'))
"""
MEMORY_PER_JOB = 2 << 30  # bytes


def install_mmcv(venv: Venv, spec: str, torch: str) -> None:
    """Install mmcv from the cache, or compile it where the cache holds no wheel that works."""
    kind, headers = venv.ask('-c', FACTS).stdout.split('\n')[:2]
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mask_dino' / 'wheels'
    folder = cache / f'{spec.replace("==", "-")}-torch-{torch}-{kind}'
    for wheel in sorted(folder.glob('*.whl')):
        say(f'using the wheel that was compiled before: {wheel}')
        venv.install('--force-reinstall', '--no-deps', str(wheel))
        failure = venv.failure()
        if not failure or failure[0] != 'mmcv':
            return venv.note(mmcv_torch=torch)
        say(f'it does not work and is removed: {failure[1]}')
        wheel.unlink()
    venv.install('--force-reinstall', '--no-deps', str(compile_mmcv(venv, spec, folder, Path(headers))))
    venv.note(mmcv_torch=torch)


def compile_mmcv(venv: Venv, spec: str, folder: Path, headers: Path) -> Path:
    """Compile mmcv for the environment's torch into a wheel in `folder`."""
    if not shutil.which(os.environ.get('CXX', 'c++')) or not (headers / 'Python.h').exists():
        fail('a C++ compiler and the headers of Python are needed: apt-get install g++ python3-dev')
    jobs = os.environ.get('MAX_JOBS') or str(fitting_jobs())
    log = venv.path / 'mmcv-build.log'
    say(f'compiling {spec} with MAX_JOBS={jobs}: about 10 minutes on two cores, once for each torch; log: {log}')
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        options = ['-v', '--no-cache-dir', '--no-deps', '--no-build-isolation', '--no-binary', spec.split('==')[0]]
        settings = {'MMCV_WITH_OPS': '1', 'MAX_JOBS': jobs, 'CFLAGS': f'{os.environ.get("CFLAGS", "")} -g0'}
        run(log, [str(venv.python), '-m', 'pip', 'wheel', *options, '-w', draft, spec], venv.lock, settings)
        wheel = next(Path(draft).glob('*.whl'))
        return wheel.replace(folder / wheel.name)


def fitting_jobs() -> int:
    """As many compiler jobs as there are cores, and memory for."""
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return max(1, min(len(os.sched_getaffinity(0)), memory // MEMORY_PER_JOB))
