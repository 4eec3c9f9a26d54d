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
M_MMAP_THRESHOLD, PAGES, USUAL = -3, 2**16, 2**25  # see mallopt(3)


class Peak:
    """Bytes at the peak; None as long as they are unknown, and on a CPU under another system than Linux."""

    value: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of what happens inside.

    On a GPU it is what torch allocated. On a CPU it is what the process held in memory, as Linux counts it itself, so
    that temporary buffers of every library are included. Meanwhile, what is freed goes back to the system at once,
    for the peak not to depend on what the allocator likes to keep; this costs time.
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
        with _nothing_kept():
            CLEAR.write_text(RESET_PEAK)
            before = _status('VmRSS')
            yield peak
            peak.value = _status('VmHWM') - before


def _status(name: str) -> int:
    found = re.search(rf'^{name}:\s+(\d+) kB$', STATUS.read_text(), re.MULTILINE)
    assert found, f'{STATUS} has no {name}'
    return int(found[1]) * 1024


@contextmanager
def _nothing_kept() -> Iterator[None]:
    """Let glibc give pages back; other C libraries keep less by themselves."""
    library = ctypes.CDLL(None)
    if not hasattr(library, 'mallopt'):
        yield
        return
    library.mallopt(M_MMAP_THRESHOLD, PAGES)
    library.malloc_trim(0)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_THRESHOLD, USUAL)
