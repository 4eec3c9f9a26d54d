"""Run commands that take long: a live line while they work, the log's end and a remedy when they fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

REMEDIES = (
    (
        r'No space left|Errno 28',
        'the disk is full: the environment, the pip cache and $TMPDIR need about 5 GB together',
    ),
    (
        r'name resolution|NewConnectionError|NameResolutionError|unreachable|ConnectTimeout|ProxyError',
        'no connection to the package registry: check the network, or the proxy and the index in the settings of pip',
    ),
    (r'No matching distribution', 'no such release for this Python: choose another with TORCH=... or PYTHON=...'),
    (r'Killed signal|Cannot allocate memory', 'the compiler ran out of memory: MAX_JOBS=1 make env'),
    (
        r'CUDA_HOME|nvcc|detected CUDA version',
        'ops for the GPU need the CUDA toolkit of torch; to do without them: CUDA_VISIBLE_DEVICES= make env',
    ),
    (r'ensurepip', 'this Python comes without venv: apt-get install python3-venv'),
)


def say(text: str) -> None:
    """Print one line at once."""
    print(f'env: {text}', flush=True)


def fail(text: str) -> NoReturn:
    """Stop with an error."""
    raise SystemExit(f'env: error: {text}')


def run(log: Path, command: list[str], lock: int, settings: dict[str, str] | None = None) -> None:
    """Run a command with its output in a log; `settings` are added to the process environment."""
    outside = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'PYTHONHOME')}
    environment = {**outside, 'PIP_USER': '0', 'PYTHONUNBUFFERED': '1', **(settings or {})}
    with log.open('wb') as sink:
        # The child holds the lock too: should this process be killed, no other run starts while the child goes on.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=environment,
            start_new_session=True,
            pass_fds=[lock],
        )
    try:
        watch(child, log)
    except BaseException:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait()
        raise
    if child.returncode:
        text = log.read_text(errors='replace')
        end = '\n'.join(line[:300] for line in text.splitlines()[-25:])
        fail(f'{" ".join(command[2:4])} failed, {remedy(text)}\n{end}\nThe whole log is {log}')


def watch(child: subprocess.Popen[bytes], log: Path) -> None:
    """Show the time taken until a command ends: one line that renews itself in a terminal, else a line a minute."""
    start, live = time.monotonic(), sys.stdout.isatty()
    while True:
        try:
            child.wait(1 if live else 60)
            break
        except subprocess.TimeoutExpired:
            line = progress(time.monotonic() - start, log)
            print(f'\r\033[Kenv: {line}' if live else f'env: {line}', end='' if live else '\n', flush=True)
    if live:
        print('\r\033[K', end='')
    if (seconds := time.monotonic() - start) > 60:
        say(f'that took {clock(seconds)}')


def progress(seconds: float, log: Path) -> str:
    """The time taken so far, and what is left by the compiler's own count of files."""
    counts = re.findall(rb'^ *\[(\d+)/(\d+)\]', log.read_bytes(), re.MULTILINE)
    if not counts:
        return f'... {clock(seconds)}'
    done, total = map(int, counts[-1])
    return f'... {clock(seconds)}, file {done} of {total}, about {clock(seconds * (total - done) / done)} left'


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'


def remedy(log: str) -> str:
    """What to do about a failure, by the words in its log."""
    return next((text for pattern, text in REMEDIES if re.search(pattern, log)), 'see the end of its log:')
