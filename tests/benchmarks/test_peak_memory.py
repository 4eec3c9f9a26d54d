import pytest
import torch

from mask_dino.benchmarks.memory import CLEAR, peak_memory

pytestmark = pytest.mark.skipif(not CLEAR.exists(), reason='Linux counts')
SIZE = 50 * 2**20


def fill(size):
    return torch.ones(size, dtype=torch.uint8)


def least_peak(action):
    """The least of some measurements: the system may do things of its own meanwhile."""
    peaks = []
    for _ in range(3):
        with peak_memory(torch.device('cpu')) as peak:
            held = action()
        peaks.append(peak.value)
        del held
    return min(peaks)


def one_at_a_time():
    for _ in range(3):
        fill(SIZE)


def test_the_peak_is_that_of_what_is_held_at_once():
    assert least_peak(one_at_a_time) == pytest.approx(SIZE, rel=0.2)
    assert least_peak(lambda: [fill(SIZE) for _ in range(3)]) == pytest.approx(3 * SIZE, rel=0.2)


def test_what_is_held_already_and_earlier_peaks_do_not_count():
    held = fill(SIZE)
    assert least_peak(lambda: None) < 0.2 * SIZE
    del held
