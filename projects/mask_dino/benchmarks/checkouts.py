"""Compare the CPU seconds of checkouts of this project: each in a process of its own, taking turns on one core.

Ratios are those to the first checkout, turn by turn, so that other load on the machine affects all of them equally. The
checkouts use the packages of the Python that runs this command.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

CONFIG = 'configs/maskdino/maskdino_r50_8xb2-lsj-50e_coco.py'
SERVE = '--serve'
READY, SECONDS = 'ready', 'seconds'


class Case(NamedTuple):
    """What is measured: ``train`` is a step, ``network`` the network in inference without its post-processing."""

    mode: str
    height: int
    width: int
    objects: int
    rounds: int

    @property
    def name(self) -> str:
        return f'{self.mode}, {self.height} x {self.width}, {self.objects} objects'


CASES = [
    Case('train', 512, 512, 10, 5),
    Case('train', 512, 512, 50, 3),
    Case('train', 1024, 1024, 10, 2),
    Case('network', 512, 512, 10, 5),
    Case('network', 800, 1333, 10, 3),
]
MODES = sorted({case.mode for case in CASES})


def main() -> None:
    """Measure all cases."""
    # Here and below: the processes of other checkouts import their own package.
    from mask_dino.cli.benchmarks import check_out
    from mask_dino.cli.common import UsageError

    parser = build_parser()
    args = parser.parse_args()
    try:
        if args.out:
            check_out(args.out)
        checkouts = {name_checkout(folder): folder.resolve() for folder in args.checkouts}
    except UsageError as error:
        parser.error(str(error))
    compare(checkouts, [case for case in CASES if case.mode in args.modes], args.out)


def name_checkout(folder: Path) -> str:
    """Return the commit of a checkout.

    Raises:
        UsageError: The folder is none.
    """
    from mask_dino.cli.common import UsageError

    command = ['git', '-C', str(folder), 'rev-parse', '--short', 'HEAD']
    commit = subprocess.run(command, capture_output=True, text=True, check=False)
    if commit.returncode or not (folder / CONFIG).exists():
        raise UsageError(f'{folder}: no checkout of this project; `git worktree add` makes one')
    return commit.stdout.strip()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from mask_dino.cli.help import make_parser

    parser = make_parser(
        __doc__ or '',
        'python projects/mask_dino/benchmarks/checkouts.py ../before . --out outputs/checkouts.json',
        exit_codes='0: measured; 1: the process of a checkout ended; 2: wrong arguments',
    )
    parser.add_argument(
        'checkouts',
        nargs='+',
        type=Path,
        metavar='FOLDER',
        help='checkout of this project, such as `git worktree add ../before COMMIT` makes',
    )
    parser.add_argument(
        '--modes',
        nargs='+',
        choices=MODES,
        default=MODES,
        help='what to measure: training steps, the network in inference (default: both). After training steps, a '
        'process has other memory at hand, which changes the time of the network',
    )
    parser.add_argument('--out', type=Path, help='JSON file to write (default: none)')
    return parser


def serve(checkout: Path) -> None:
    """Build the model of a checkout, and print the seconds of each case that is asked for."""
    sys.path.insert(0, str(checkout))
    import torch

    torch.set_num_threads(1)
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    import mask_dino.det  # noqa: F401  registers the model
    from mask_dino.benchmarks.step import Subject

    init_default_scope('mmdet')
    subject = Subject(Config.fromfile(checkout / CONFIG), torch.device('cpu'))
    print(READY, flush=True)
    for line in sys.stdin:
        *numbers, mode = line.split()
        height, width, objects, seed = map(int, numbers)
        print(SECONDS, time_case(subject, mode, (height, width, objects), seed), flush=True)


def time_case(subject, mode: str, load: tuple[int, int, int], seed: int) -> float:
    """Return the CPU seconds of one step or one pass of the network."""
    import torch

    try:
        from mask_dino.benchmarks.inputs import Load
    except ImportError:  # its older name
        from mask_dino.benchmarks.samples import Load
    data = subject.make_batch(Load(*load, 1), subject.classes, seed)
    torch.manual_seed(seed)
    if mode == 'train':
        start = time.process_time()
        subject.step('train', data)
        return time.process_time() - start
    subject.model.eval()
    images = subject.model.data_preprocessor(data, False)['inputs']
    with torch.no_grad():
        start = time.process_time()
        subject.model(images, mode='tensor')
        return time.process_time() - start


def compare(checkouts: dict[str, Path], cases: Sequence[Case], out: Path | None) -> None:
    """Measure cases in turns, print them, and write them."""
    import torch

    from mask_dino.benchmarks.measure import save

    servers = {name: start_server(folder) for name, folder in checkouts.items()}
    for server in servers.values():
        read(server, READY)
    records = []
    for case in cases:
        seconds = measure(case, servers)
        records.append(dict(case=case.name, seconds=seconds))
        print(f'{case.name}: {describe(seconds)}', flush=True)
        if out:
            save(out, torch.device('cpu'), records)


def measure(case: Case, servers: dict[str, subprocess.Popen]) -> dict[str, list[float]]:
    """Return the seconds of each checkout; the first turn only warms up."""
    turns = [
        {name: ask(server, case, seed) for name, server in servers.items()}
        for seed in range(case.rounds + 1)
    ]
    return {name: [turn[name] for turn in turns[1:]] for name in servers}


def start_server(checkout: Path) -> subprocess.Popen:
    """Start the process of a checkout."""
    command = [sys.executable, str(Path(__file__).resolve()), SERVE, str(checkout)]
    return subprocess.Popen(
        command,
        cwd=checkout,
        env=os.environ | dict(OMP_NUM_THREADS='1'),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ask(server: subprocess.Popen, case: Case, seed: int) -> float:
    """Return the seconds of one turn."""
    assert server.stdin
    server.stdin.write(f'{case.height} {case.width} {case.objects} {seed} {case.mode}\n')
    server.stdin.flush()
    return float(read(server, SECONDS).split()[1])


def read(server: subprocess.Popen, start: str) -> str:
    """Return the next line of a server that begins with ``start``."""
    assert server.stdout
    for line in server.stdout:
        if line.startswith(start):
            return line
    command = ' '.join(map(str, server.args))
    sys.exit(f'error: the process of a checkout ended; to see why, run: {command} < /dev/null')


def describe(seconds: dict[str, list[float]]) -> str:
    """Return the median seconds of each checkout, and its median ratio to the first one, turn by turn."""
    first = next(iter(seconds.values()))
    parts = []
    for name, values in seconds.items():
        ratio = median(value / other for value, other in zip(values, first, strict=True))
        parts.append(f'{name}: {median(values):.2f} s ({ratio:.3f})')
    return ', '.join(parts)


if __name__ == '__main__':
    if sys.argv[1:2] == [SERVE]:
        serve(Path(sys.argv[2]))
    else:
        main()
