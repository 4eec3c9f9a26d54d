"""Kill a training at random moments, resume it, and compare its end with a training that was not disturbed.

The training has two weights, saves a checkpoint after every step and keeps only the newest one. After every kill, the
script checks that the newest checkpoint can be read, that it is not older than the one before, and that no process of
the training is left. It exits with 1 if anything is lost.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import torch

from mask_dino.checkpoints import load_checkpoint_safely
from mask_dino.checkpoints.trusted_names import VARIABLE
from mask_dino.cli.help import make_parser
from mask_dino.hooks.checkpoint_files import find_newest_checkpoint, read_progress

ROOT = Path(__file__).resolve().parents[2]
MARK = 'MASK_DINO_KILL_TEST'
"""Environment variable that every process of a training inherits from this script."""
GRACE = 10.0
"""Seconds that the processes of a killed training have to end."""


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = make_parser(
        __doc__ or '',
        'python tools/dev/kill_trainings.py --kills 10',
        exit_codes='0: nothing was lost; 1: something was; 2: wrong arguments',
    )
    parser.add_argument(
        '--kills', type=int, default=10, help='how often to kill it (default: %(default)s)'
    )
    parser.add_argument(
        '--steps', type=int, default=400, help='steps of the training (default: %(default)s)'
    )
    parser.add_argument(
        '--workers', type=int, default=2, help='processes that load data (default: %(default)s)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the moments (default: %(default)s)'
    )
    parser.add_argument(
        '--signal',
        choices=['SIGKILL', 'SIGTERM'],
        default='SIGKILL',
        help='what to send (default: %(default)s)',
    )
    return parser


def start_training(folder: Path, args: argparse.Namespace, mark: str) -> subprocess.Popen:
    """Start or resume the training in a folder; its output goes to the file ``output.txt`` there."""
    folder.mkdir(exist_ok=True)
    options = (
        f'train_cfg.max_iters={args.steps}',
        f'train_cfg.val_interval={args.steps}',
        f'train_dataloader.num_workers={args.workers}',
        'default_hooks.checkpoint.interval=1',
        'default_hooks.checkpoint.max_keep_ckpts=1',
        'default_hooks.checkpoint.save_best=None',
    )
    config = ROOT / 'tests' / 'tools' / 'configs' / 'line.py'
    command = [
        sys.executable,
        ROOT / 'tools' / 'train.py',
        config,
        '--work-dir',
        folder,
        '--resume',
    ]
    paths = os.pathsep.join((str(ROOT), str(ROOT / 'tests')))
    environment = os.environ | {'PYTHONPATH': paths, MARK: mark, 'OMP_NUM_THREADS': '1'}
    with (folder / 'output.txt').open('a') as output:
        return subprocess.Popen(
            [*command, '--cfg-options', *options],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def find_processes(mark: str) -> list[int]:
    """Return the processes that inherited the mark, zombies not counted."""
    entry = f'{MARK}={mark}'.encode()
    processes = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            environment = (folder / 'environ').read_bytes()
        except OSError:  # ended, or of another user
            continue
        if entry in environment.split(b'\0'):
            processes.append(int(folder.name))
    return processes


def wait_for_end(mark: str) -> list[int]:
    """Return the processes of a killed training that are still there after `GRACE` seconds."""
    deadline = time.monotonic() + GRACE
    while (processes := find_processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return processes


def read_iteration(folder: Path) -> int:
    """Return the iteration of the newest readable checkpoint; 0 if there is none.

    Raises:
        CheckpointError: There are checkpoints, but none can be read.
    """
    newest, _ = find_newest_checkpoint(folder)
    return 0 if newest is None else read_progress(newest).iteration


def kill_once(folder: Path, args: argparse.Namespace, moments: random.Random) -> list[str]:
    """Start the training, kill it while it saves checkpoints, and return what was lost."""
    mark = uuid.uuid4().hex
    before = read_iteration(folder)
    training = start_training(folder, args, mark)
    while training.poll() is None and not is_training(folder, before):
        time.sleep(0.02)
    time.sleep(moments.uniform(0, 0.5))
    training.send_signal(getattr(signal, args.signal))
    code = training.wait()
    problems = [f'process {process} is left' for process in wait_for_end(mark)]
    after = read_iteration(folder)
    if after < before:
        problems.append(f'the newest checkpoint went back from iteration {before} to {after}')
    print(
        f'iteration {before} -> {after}, exit code {code}{"".join(f"; {problem}" for problem in problems)}',
        flush=True,
    )
    return problems


def is_training(folder: Path, iteration: int) -> bool:
    """Tell whether the training has saved a checkpoint after an iteration."""
    return any(
        int(path.stem.removeprefix('iter_')) > iteration for path in folder.glob('iter_*.pth')
    )


def compare_ends(first: Path, second: Path) -> list[str]:
    """Return the names of the tensors in which the last checkpoints of two folders differ."""
    states = []
    for folder in (first, second):
        newest, _ = find_newest_checkpoint(folder)
        assert newest is not None
        states.append(load_checkpoint_safely(newest)['state_dict'])
    return [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]


def train_to_the_end(folder: Path, args: argparse.Namespace) -> None:
    """Start or resume the training in a folder, and wait for it."""
    code = start_training(folder, args, uuid.uuid4().hex).wait()
    if code:
        output = (folder / 'output.txt').read_text()
        sys.exit(f'the training ended with exit code {code}:\n{output[-3000:]}')


def find_problems(args: argparse.Namespace, parent: Path) -> list[str]:
    """Train twice in folders below ``parent``, kill one of the trainings, and return what was lost."""
    moments = random.Random(args.seed)
    undisturbed, disturbed = parent / 'undisturbed', parent / 'disturbed'
    problems: list[str] = []
    for _ in range(args.kills):
        problems += kill_once(disturbed, args, moments)
    for folder in (undisturbed, disturbed):
        train_to_the_end(folder, args)
    differences = compare_ends(undisturbed, disturbed)
    return problems + [f'{name} differs from the undisturbed training' for name in differences]


def main() -> None:
    """Run the kill test."""
    args = build_parser().parse_args()
    os.environ[VARIABLE] = (
        'helpers'  # the package of the model, which the configs in the checkpoints import
    )
    with tempfile.TemporaryDirectory() as parent:
        problems = find_problems(args, Path(parent))
    if problems:
        sys.exit('\n'.join(problems))
    print(
        f'{args.kills} kills, nothing lost: the weights equal the weights of an undisturbed training bit by bit'
    )


if __name__ == '__main__':
    main()
