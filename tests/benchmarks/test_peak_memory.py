import pytest
import torch

from mask_dino.benchmarks.memory import CLEAR, PeakMemory

pytestmark = pytest.mark.skipif(not CLEAR.exists(), reason='Linux counts')
SIZE = 50 * 2**20


def fill(size):
    return torch.ones(size, dtype=torch.uint8)


def test_the_peak_is_that_of_what_is_held_at_once():
    memory = PeakMemory(torch.device('cpu'))
    memory.start()
    for _ in range(3):
        fill(SIZE)
    one_at_a_time = memory.stop()
    memory.start()
    held = [fill(SIZE) for _ in range(3)]
    at_once = memory.stop()
    assert one_at_a_time == pytest.approx(SIZE, rel=0.2)
    assert at_once == pytest.approx(3 * SIZE, rel=0.2)
    memory.start()  # what is held already is not counted, nor are earlier peaks
    assert memory.stop() < 0.2 * SIZE
    del held
