"""Peak memory of a step above what was in use before it."""

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

import torch

CLEAR, STATUS = Path('/proc/self/clear_refs'), Path('/proc/self/status')
RESET_PEAK = '5'  # see proc(5)


class PeakMemory:
    """Measures between ``start`` and ``stop``, in bytes.

    On a GPU it is what torch allocated. On a CPU it is what the process held in memory, as Linux counts it itself:
    temporary buffers of every library are included, and nothing is slowed down. Freed memory that the allocator
    keeps is given back first, so that one step does not hide in what an earlier one left behind.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.before = 0

    def start(self) -> None:
        """Forget earlier peaks."""
        gc.collect()
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
        elif CLEAR.exists():
            _trim()(0)
            CLEAR.write_text(RESET_PEAK)
            self.before = _status('VmRSS')

    def stop(self) -> int | None:
        """Return the peak since ``start``; None on a CPU under another system than Linux."""
        if self.device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self.device) - self.before
        return _status('VmHWM') - self.before if CLEAR.exists() else None


def _status(name: str) -> int:
    found = re.search(rf'^{name}:\s+(\d+) kB$', STATUS.read_text(), re.MULTILINE)
    assert found, f'{STATUS} has no {name}'
    return int(found[1]) * 1024


def _trim() -> Callable[[int], int]:
    """Return glibc's ``malloc_trim``; other C libraries have none, and keep less."""
    try:
        function: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return lambda padding: 0
    return function
