import pytest
import torch

from mask_dino.ops.smallest import find_smallest


@pytest.mark.parametrize('threads', [1, 99])
@pytest.mark.parametrize('rows', [0, 1, 6])
@pytest.mark.parametrize('count', [0, 1, 30, 120])
@pytest.mark.parametrize('distinct', [3, 2**20])
def test_the_smallest_values_of_a_row_are_found_once_also_among_equals(
    threads, rows, count, distinct, monkeypatch, generator
):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    values = torch.randint(distinct, (rows, 120), generator=generator).float()
    index = find_smallest(values, count)
    assert index.shape == (rows, count)
    expected = values.sort(1).values[:, :count]
    assert values.gather(1, index).sort(1).values.equal(expected)
    assert all(len(row.unique()) == count for row in index)


def test_values_that_are_no_numbers_are_chosen_last(generator):
    values = torch.rand(2, 50, generator=generator)
    values[:, ::5] = torch.nan
    values[:, 1] = torch.inf
    index = find_smallest(values, 39)
    assert values.gather(1, index).isfinite().all()
