"""The command line of `make env`."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import signal
import sys
from pathlib import Path

from .mmcv import install_mmcv
from .plan import MMCV, ROOT, STACK, TORCH, Found, Step, Wanted, next_step, requirement_files
from .shell import fail, say
from .venv import Venv

LABELS = {
    'venv': 'making {venv} with Python {python}',
    'torch': 'installing {torch}: a minute, longer where a CUDA build of several GB has to be fetched',
    'packages': 'installing the {stack} stack and the tools: a minute',
    'opencv': 'installing opencv-python-headless, which needs no desktop libraries, over opencv-python',
    'mmcv': 'installing {mmcv} with compiled ops',
    'project': 'installing mask_dino in editable mode',
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; an empty value counts as not given."""
    parser = argparse.ArgumentParser(prog='env', description='Make or repair the virtual environment.')
    parser.add_argument('--venv', type=Path, default=Path('.venv'))
    parser.add_argument('--torch', default='', help=f'requirement, options of pip may follow; first time {TORCH}')
    parser.add_argument('--stack', default='', choices=['', *MMCV], help=f'first time {STACK}')
    parser.add_argument('--this-python', action='store_true', help='make anew what has another Python than this one')
    args = parser.parse_args(arguments)
    if args.torch and not re.match(r'torch($| |[=<>!~]=|[<>])', args.torch):
        parser.error(f'TORCH is a requirement such as {TORCH}, not {args.torch!r}')
    return args


def choose(args: argparse.Namespace, state: dict[str, str]) -> Wanted:
    """What was asked for now, else what was asked for before, else the default."""
    python = '{}.{}'.format(*sys.version_info) if args.this_python else ''
    return Wanted(python, args.torch or state.get('torch', TORCH), args.stack or state.get('stack', STACK))


def perform(step: Step, venv: Venv, wanted: Wanted, found: Found) -> None:
    """Carry out one step."""
    texts = {'venv': venv.path, 'python': '{}.{}'.format(*sys.version_info), 'mmcv': MMCV[wanted.stack]}
    say(f'{LABELS[step.name].format(**wanted._asdict() | texts)} ({step.reason})')
    if step.name == 'venv':
        venv.make()
    elif step.name == 'torch':
        venv.install(*wanted.torch.split())
    elif step.name == 'packages':
        files = [word for file in requirement_files(wanted) for word in ('-r', str(file))]
        venv.install(*files, f'torch=={found.installed["torch"]}')
    elif step.name == 'opencv':
        venv.install('--force-reinstall', '--no-deps', 'opencv-python-headless<5')
    elif step.name == 'mmcv':
        install_mmcv(venv, MMCV[wanted.stack], found.installed['torch'])
    elif step.name == 'project':
        venv.install('--no-deps', '--no-build-isolation', '-e', str(ROOT))


def bring_about(venv: Venv, wanted: Wanted) -> Found:
    """Take steps until the environment is as wanted; a step that has to be taken twice did not help."""
    taken: set[str] = set()
    while step := next_step(wanted, found := venv.look(wanted)):
        if step.name in taken:
            fail(f'{step.name} was put right and is wrong again: {step.reason}\nRemove {venv.path} and try again')
        taken = {'venv'} if step.name == 'venv' else taken | {step.name}
        perform(step, venv, wanted, found)
    changes = {'torch': wanted.torch, 'stack': wanted.stack, 'mmcv_torch': found.installed['torch']}
    if changes.items() - venv.state.items():
        venv.note(**changes)
    return found


def main() -> None:
    """Make the environment ready, one run at a time."""
    args = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lock = os.open(__file__, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say('another run is at work: waiting for it')
        fcntl.flock(lock, fcntl.LOCK_EX)
    venv = Venv(args.venv.absolute(), lock)
    wanted = choose(args, venv.state)
    found = bring_about(venv, wanted)
    names = ('torch', *sorted(name for name in found.installed if name.removeprefix('onedl-').startswith('mm')))
    versions = ', '.join(f'{name} {found.installed[name]}' for name in names)
    say(f'{args.venv} is ready: Python {found.python}, {versions}')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nenv: stopped; run it again to go on')
