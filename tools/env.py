"""Make or repair the project's virtual environment: what `make env` runs, with the standard library only.

The steps are always the same: venv, torch, requirements, mmcv, the project. They run if anything differs from the last
successful run; pip skips what is installed. If they do not help, the environment is made again from nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[1]
TORCH, STACK = 'torch==2.13.0', 'openmmlab'
MMCV = {'openmmlab': 'mmcv==2.1.0', 'onedl': 'onedl-mmcv==2.3.6'}
MEMORY_PER_JOB = 2 << 30  # bytes that one compiler of mmcv's ops needs
REMEDIES = {
    r'No space left|Errno 28': 'the disk is full: environment, pip cache and $TMPDIR need about 5 GB together',
    r'name resolution|NewConnectionError|NameResolutionError|unreachable|ConnectTimeout|ProxyError': (
        'no connection to the package registry: check the network, or the proxy and the index in the settings of pip'
    ),
    r'No matching distribution': 'no such release for this Python: choose another with TORCH=... or PYTHON=...',
    r'Killed signal|Cannot allocate memory': 'the compiler ran out of memory: MAX_JOBS=1 make env',
    r'CUDA_HOME|nvcc|detected CUDA version': (
        'ops for the GPU need the CUDA toolkit of torch; to do without them: CUDA_VISIBLE_DEVICES= make env'
    ),
    r'Python\.h|c\+\+.*(not found|No such file)': (
        'mmcv needs a C++ compiler and the headers of Python: apt-get install g++ python3-dev'
    ),
    r'ensurepip': 'this Python has no venv module: apt-get install python3-venv',
}
# Runs inside the environment. The compiled ops are called, because they can be importable and broken.
INSPECT = """
import importlib.util, json, sys
from importlib import metadata
spec = importlib.util.find_spec('mask_dino')
print(json.dumps({
    'python': '%d.%d' % sys.version_info[:2],
    'project': spec.origin if spec else '',
    'installed': {dist.metadata['Name']: dist.version for dist in metadata.distributions()},
}))
print('opencv', flush=True)
import cv2
print('packages', flush=True)
import torch, mmengine
print('mmcv', flush=True)
from mmcv import _ext
for device in ['cpu'] + ['cuda'] * torch.cuda.is_available():
    box = torch.ones(1, 4, device=device)
    assert _ext.nms(box, box[:, 0], iou_threshold=0.5, offset=0).tolist() == [0]
"""


class Choice(NamedTuple):
    """What the environment should hold."""

    python: str  # 'major.minor', or '' for the Python that the environment has
    torch: str  # a requirement; options of pip may follow it
    stack: str


class Contents(NamedTuple):
    """What the environment holds."""

    python: str
    project: str  # the file that `import mask_dino` loads
    installed: dict[str, str]  # distribution -> version
    # The first part that does not work: python, opencv, packages or mmcv. '' if all work.
    failed: str
    error: str


def say(text: str) -> None:
    """Print a line immediately."""
    print(f'env: {text}', flush=True)


def fail(text: str) -> NoReturn:
    """Stop with an error."""
    raise SystemExit(f'env: error: {text}')


class Venv:
    """A virtual environment that may be missing, incomplete or different from what was chosen."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self.lock = path, lock
        self.python, self.log, self.record = (
            path / 'bin' / 'python',
            path / 'env.log',
            path / 'mask_dino.json',
        )
        self.state: dict[str, str] = (
            json.loads(self.record.read_text()) if self.record.exists() else {}
        )

    def note(self, **changes: str) -> None:
        """Write changes to the record. A kill at any moment leaves the old record or the new one."""
        self.state.update(changes)
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.record.with_suffix('.tmp')
        draft.write_text(json.dumps(self.state, indent=2))
        draft.replace(self.record)

    def inspect(self) -> Contents:
        """Return what the environment holds and which part of it fails."""
        if not self.python.exists():
            return Contents('', '', {}, 'python', 'it does not exist')
        # -I: the environment must not see modules outside it.
        answer = subprocess.run([self.python, '-I', '-c', INSPECT], capture_output=True, text=True)
        errors = answer.stderr.strip().splitlines() or [
            f'Python ended with status {answer.returncode}'
        ]
        if not answer.stdout:
            return Contents('', '', {}, 'python', errors[-1])
        facts, *parts = answer.stdout.splitlines()
        failed, error = (parts[-1], errors[-1]) if answer.returncode else ('', '')
        return Contents(**json.loads(facts), failed=failed, error=error)

    def make(self) -> None:
        """Make the environment from nothing. Its record stays, so that a kill in between is noticed."""
        if self.path.exists() and not self.record.exists():
            fail(
                f'{self.path} was not made by `make env`: remove it, or choose another folder with VENV=...'
            )
        self.note(unfinished='it was made', mmcv_torch='')
        for entry in set(self.path.iterdir()) - {self.record}:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        # Not sys.executable, which may be the Python that was just removed.
        self.run(sys._base_executable, '-m', 'venv', str(self.path))  # type: ignore[attr-defined]
        self.note(unfinished='')

    def install(self, *arguments: str) -> None:
        """Run pip install. A run that is stopped meanwhile leaves a mark in the record."""
        self.note(unfinished='pip changed it')
        self.run(str(self.python), '-m', 'pip', 'install', *arguments)
        self.note(unfinished='')

    def run(self, *command: str, **settings: str) -> None:
        """Run a command and write its output to the log; settings are added to the process environment."""
        outside = {
            key: value
            for key, value in os.environ.items()
            if key not in ('PYTHONPATH', 'PYTHONHOME')
        }
        environment = {**outside, 'PIP_USER': '0', 'PYTHONUNBUFFERED': '1', **settings}
        with self.log.open('wb') as log:
            # If only this process is killed, the command keeps the lock, and no other run can start.
            process = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[self.lock],
            )
        if process.returncode:
            text = self.log.read_text(errors='replace')
            end = '\n'.join(line[:300] for line in text.splitlines()[-25:])
            fail(
                f'{" ".join(command[2:4])} failed, {find_remedy(text)}\n{end}\nThe whole log is {self.log}'
            )


def find_remedy(log: str) -> str:
    """Return what the user can do about a failure, by the words in its log."""
    return next(
        (text for pattern, text in REMEDIES.items() if re.search(pattern, log)),
        'see the end of its log:',
    )


def install_mmcv(venv: Venv, spec: str, contents: Contents) -> None:
    """Install mmcv from the cache of wheels. Compile it if the cache has no wheel that works."""
    command = [
        venv.python,
        '-I',
        '-c',
        'import torch; print("cuda" if torch.cuda.is_available() else "cpu")',
    ]
    device = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    cache = (
        Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mask_dino' / 'wheels'
    )
    torch = contents.installed['torch']
    folder = cache / f'{spec.replace("==", "-")}-torch-{torch}-py{contents.python}-{device}'
    for wheel in sorted(folder.glob('*.whl')):
        say(f'installing {spec} from {wheel}, which was compiled before')
        venv.install('--force-reinstall', '--no-deps', str(wheel))
        now = venv.inspect()
        if now.failed != 'mmcv':
            return venv.note(mmcv_torch=torch)
        say(f'this wheel does not work and is removed: {now.error}')
        wheel.unlink()
    venv.install('--force-reinstall', '--no-deps', str(compile_mmcv(venv, spec, folder)))
    return venv.note(mmcv_torch=torch)


def compile_mmcv(venv: Venv, spec: str, folder: Path) -> Path:
    """Compile mmcv for the torch of the environment; return the wheel."""
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    fitting = max(1, min(len(os.sched_getaffinity(0)), memory // MEMORY_PER_JOB))
    jobs = os.environ.get('MAX_JOBS') or str(fitting)
    flags = os.environ.get('CFLAGS', '') + ' -g0'
    say(
        f'compiling {spec} with MAX_JOBS={jobs}: about 10 minutes on two cores; to watch: tail -f {venv.log}'
    )
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        '-v',
        '--no-cache-dir',
        '--no-deps',
        '--no-build-isolation',
        '--no-binary',
        spec.split('==')[0],
    ]
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        command = [str(venv.python), '-m', 'pip', 'wheel', *options, '-w', draft, spec]
        venv.run(*command, MMCV_WITH_OPS='1', MAX_JOBS=jobs, CFLAGS=flags)
        wheel = next(Path(draft).glob('*.whl'))
        return wheel.replace(folder / wheel.name)


def requirement_files(stack: str) -> list[Path]:
    """Return the files that list what is installed besides torch and mmcv."""
    return [
        ROOT / 'requirements.txt',
        *(ROOT / 'requirements' / f'{name}.txt' for name in (stack, 'build', 'dev')),
    ]


def fingerprint(choice: Choice, installed: dict[str, str]) -> str:
    """Return a digest of what the environment depends on and what it holds."""
    files = [
        *requirement_files(choice.stack),
        ROOT / 'pyproject.toml',
        ROOT / 'mask_dino' / '__init__.py',
    ]
    parts = [
        *(file.read_text() for file in files),
        choice.torch,
        MMCV[choice.stack],
        str(sorted(installed.items())),
    ]
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()


def reason_to_remake(venv: Venv, choice: Choice, contents: Contents) -> str:
    """Return why the environment has to be made from nothing, or ''."""
    if not contents.python:
        return contents.error
    if venv.state.get('unfinished'):
        return f'an earlier run was stopped while {venv.state["unfinished"]}'
    if choice.python not in ('', contents.python):
        return f'it has Python {contents.python}'
    stack = venv.state.get('stack', choice.stack)
    return (
        ''
        if stack == choice.stack
        else f'the {stack} and {choice.stack} stacks cannot share an environment'
    )


def reason_to_repair(venv: Venv, choice: Choice, contents: Contents) -> str:
    """Return what is wrong or has changed since the last successful run, or ''."""
    if contents.failed:
        return f'{contents.failed} does not work: {contents.error}'
    if contents.project != str(ROOT / 'mask_dino' / '__init__.py'):
        return f'mask_dino is imported from {contents.project or "nowhere"}'
    changed = venv.state.get('fingerprint') != fingerprint(choice, contents.installed)
    return 'packages or requirements have changed' if changed else ''


def install_everything(venv: Venv, choice: Choice) -> Contents:
    """Take all steps; return what the environment holds then."""
    say(
        f'installing {choice.torch}: a minute, or longer if a CUDA build of several GB has to be downloaded'
    )
    venv.install(*shlex.split(choice.torch))
    torch = venv.inspect().installed['torch']
    say(f'installing the {choice.stack} stack and the tools: about a minute the first time')
    requirements = [word for file in requirement_files(choice.stack) for word in ('-r', str(file))]
    venv.install(*requirements, f'torch=={torch}')
    contents = venv.inspect()
    if contents.failed == 'opencv':
        say(
            'installing opencv-python-headless over opencv-python, which needs libraries of a desktop'
        )
        venv.install('--force-reinstall', '--no-deps', 'opencv-python-headless<5')
        contents = venv.inspect()
    name, _, version = MMCV[choice.stack].partition('==')
    if (
        contents.failed == 'mmcv'
        or contents.installed.get(name) != version
        or venv.state.get('mmcv_torch') != torch
    ):
        install_mmcv(venv, MMCV[choice.stack], contents)
    say('installing mask_dino in editable mode')
    venv.install('--no-deps', '--no-build-isolation', '-e', str(ROOT))
    return venv.inspect()


def make_ready(venv: Venv, choice: Choice) -> Contents:
    """Make or repair the environment until it holds what was chosen."""
    contents = venv.inspect()
    reason = reason_to_remake(venv, choice, contents)
    if not reason:
        repair = reason_to_repair(venv, choice, contents)
        if not repair:
            return contents
        say(f'repairing {venv.path}: {repair}')
        contents = install_everything(venv, choice)
        reason = contents.failed and f'{contents.failed} still does not work: {contents.error}'
    if reason:
        say('making {} with Python {}.{}: {}'.format(venv.path, *sys.version_info[:2], reason))
        venv.make()
        contents = install_everything(venv, choice)
    if contents.failed:
        fail(
            f'{contents.failed} does not work in a new environment: {contents.error}\nThe log is {venv.log}'
        )
    venv.note(
        torch=choice.torch, stack=choice.stack, fingerprint=fingerprint(choice, contents.installed)
    )
    return contents


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; an empty value counts as not given."""
    parser = argparse.ArgumentParser(
        prog='env',
        description='Make or repair the virtual environment.',
        epilog='example: python3 tools/env.py --venv .venv --stack openmmlab. `make env` runs this. '
        'Exit codes: 0: the environment is ready; 1: an error, which the last lines name; 2: wrong arguments.',
    )
    parser.add_argument(
        '--venv', type=Path, default=Path('.venv'), help="the environment's folder (default: .venv)"
    )
    parser.add_argument(
        '--torch',
        default='',
        help=f'a requirement, options of pip may follow (default: the last choice, or {TORCH})',
    )
    parser.add_argument(
        '--stack',
        default='',
        choices=['', *MMCV],
        help=f'packages of OpenMMLab, or of OneDL (default: the last choice, or {STACK})',
    )
    parser.add_argument(
        '--this-python',
        action='store_true',
        help='the environment must have the version of this Python',
    )
    args = parser.parse_args(arguments)
    if args.torch and not re.match(r'torch($| |[=<>!~]=|[<>])', args.torch):
        parser.error(f'TORCH is a requirement such as {TORCH}, not {args.torch!r}')
    return args


def choose(args: argparse.Namespace, state: dict[str, str]) -> Choice:
    """Return what is asked for now, or else what was asked for last time, or else the default."""
    python = '{}.{}'.format(*sys.version_info) if args.this_python else ''
    return Choice(
        python, args.torch or state.get('torch', TORCH), args.stack or state.get('stack', STACK)
    )


def main() -> None:
    """Make the environment ready. Other runs wait until this one ends."""
    args = parse_args(sys.argv[1:])
    lock = os.open(__file__, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say('waiting for another run')
        fcntl.flock(lock, fcntl.LOCK_EX)
    venv = Venv(args.venv.absolute(), lock)
    contents = make_ready(venv, choose(args, venv.state))
    names = (
        'torch',
        *sorted(
            name for name in contents.installed if name.removeprefix('onedl-').startswith('mm')
        ),
    )
    versions = ', '.join(f'{name} {contents.installed[name]}' for name in names)
    say(f'{args.venv} is ready: Python {contents.python}, {versions}')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nenv: stopped; run it again to continue')
