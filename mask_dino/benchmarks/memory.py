"""Peak memory of a step above what was in use before it."""

import ctypes
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CLEAR, STATUS = Path('/proc/self/clear_refs'), Path('/proc/self/status')
RESET_PEAK = '5'  # see proc(5)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, PAGES, USUAL = -1, -3, 2**16, 2**25  # see mallopt(3)


class Peak:
    """Bytes at the peak; None as long as they are unknown, and on a CPU under another system than Linux."""

    value: int | None = None


def keep_nothing() -> None:
    """Have glibc give back what is freed at once, for peaks not to depend on what it likes to keep.

    Call it at the start of a process: holes that there are already will be filled. It costs time.
    """
    _glibc('mallopt', M_MMAP_THRESHOLD, PAGES)


def keep_as_usual() -> None:
    """Undo :func:`keep_nothing`: keep what glibc does in a process that has had large tensors."""
    _glibc('mallopt', M_MMAP_THRESHOLD, USUAL)
    _glibc('mallopt', M_TRIM_THRESHOLD, 2 * USUAL)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of what happens inside.

    On a GPU it is what torch allocated. On a CPU it is what the process held in memory, as Linux counts it itself, so
    that temporary buffers of every library are included; see :func:`keep_nothing`.
    """
    gc.collect()
    peak = Peak()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.value = torch.cuda.max_memory_allocated(device) - before
    elif not CLEAR.exists():
        yield peak
    else:
        _glibc('malloc_trim', 0)
        CLEAR.write_text(RESET_PEAK)
        before = _status('VmRSS')
        yield peak
        peak.value = _status('VmHWM') - before


def _status(name: str) -> int:
    found = re.search(rf'^{name}:\s+(\d+) kB$', STATUS.read_text(), re.MULTILINE)
    assert found, f'{STATUS} has no {name}'
    return int(found[1]) * 1024


def _glibc(function: str, *arguments: int) -> None:
    library = ctypes.CDLL(None)
    if hasattr(library, function):  # other C libraries keep less by themselves
        getattr(library, function)(*arguments)
