import subprocess
import sys

import pytest

from mask_dino.benchmarks.step import CLEAR

pytestmark = pytest.mark.skipif(not CLEAR.exists(), reason='Linux counts')
SIZE = 50 * 2**20
CODE = f"""
import torch
from mask_dino.benchmarks.step import keep_nothing, peak_memory

def fill():
    return torch.ones({SIZE}, dtype=torch.uint8)

def one_at_a_time():
    for _ in range(3):
        fill()

def least_peak(action):  # the least of some: the system may do things of its own meanwhile
    peaks = []
    for _ in range(3):
        with peak_memory(torch.device('cpu')) as peak:
            held = action()
        peaks.append(peak.value)
        del held
    return min(peaks)

keep_nothing()
earlier = fill()
print(least_peak(lambda: None), least_peak(one_at_a_time), least_peak(lambda: [fill() for _ in range(3)]))
"""
AGAIN = """
import resource
import torch
from mask_dino.benchmarks.step import keep_as_usual, keep_nothing

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16 * 2**20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_nothing()
nothing = faults()
keep_as_usual()
faults()  # until there is a hole that fits
print(nothing, faults())
"""


def printed(code):
    """Numbers from a process of its own, as the benchmarks are: an older one has holes that the allocator fills."""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return map(int, done.stdout.split())


def test_the_peak_is_what_is_held_at_once_and_was_not_before():
    nothing, single, triple = printed(CODE)
    assert nothing < 0.1 * SIZE
    assert single == pytest.approx(SIZE, rel=0.1)
    assert triple == pytest.approx(3 * SIZE, rel=0.1)


def test_memory_is_kept_as_usual_when_time_is_measured():
    """Or else every tensor would be timed with the pages that the system has to give it."""
    nothing, usual = printed(AGAIN)
    assert usual < 0.2 * nothing
