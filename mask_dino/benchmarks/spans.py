"""Time by part: every moment belongs to the innermost part that runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

Stamp = float | torch.cuda.Event

OTHER = 'other'


class Spans:
    """A clock that is told which part runs, without waiting for the device.

    On a GPU the stamps are CUDA events: a part's time is that of its kernels, and of the device waiting for the host
    to launch them.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.running = list[str]()  # innermost last
        self.changes = list[tuple[str, Stamp]]()  # who runs from when on

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as ``name``, and not as the part around it."""
        self.running.append(name)
        self._change()
        try:
            yield
        finally:
            self.running.pop()
            self._change()

    def _change(self) -> None:
        self.changes.append((self.running[-1] if self.running else OTHER, self._now()))

    def _now(self) -> Stamp:
        if self.device.type != 'cuda':
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each part; their sum is all the time that passed."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        totals = dict[str, float]()
        for (name, start), (_, end) in zip(self.changes, self.changes[1:], strict=False):
            totals[name] = totals.get(name, 0.0) + _between(start, end)
        return totals


def _between(start: Stamp, end: Stamp) -> float:
    if isinstance(start, float) and isinstance(end, float):
        return end - start
    assert isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event)
    return start.elapsed_time(end) / 1000
