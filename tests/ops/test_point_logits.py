import pytest
import torch

from mask_dino.ops import points
from mask_dino.ops.points import PointSampler, find_smallest, pick_logits


def picked(sampler, embed, features):
    """All parts of what the sampler picks, together."""
    parts = pick_logits(embed, features, sampler.choose_points)
    return torch.cat([logits for logits, _ in parts]), torch.cat([index for _, index in parts])


@pytest.mark.parametrize('count', [0, 1, 7])
@pytest.mark.parametrize('limit', [1, 1000, 2**22])
def test_values_and_gradients_are_those_of_the_whole_product(count, limit, monkeypatch):
    monkeypatch.setattr(points, 'MAX_LOGITS', limit)
    torch.manual_seed(0)
    sampler = PointSampler(num_points=40)
    embed, features = (
        torch.randn(count, 8, requires_grad=True),
        torch.randn(8, 130, requires_grad=True),
    )
    logits, chosen = picked(sampler, embed, features)
    everywhere = embed @ features
    index = sampler.choose_points(everywhere.detach())
    torch.testing.assert_close(logits, everywhere.gather(1, index))
    assert chosen.equal(index.int())
    upstream = torch.randn_like(logits)
    ours = torch.autograd.grad(logits, (embed, features), upstream)
    expected = torch.autograd.grad(everywhere.gather(1, index), (embed, features), upstream)
    for gradient, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, other)


def test_three_quarters_are_the_least_certain_candidates_and_the_others_uniform():
    torch.manual_seed(0)
    sampler = PointSampler(num_points=40)
    logits = torch.randn(5, 130)  # 120 candidates and ten more
    for row, index in zip(logits, sampler.choose_points(logits), strict=True):
        assert set(index[:30].tolist()) == set(row[:120].abs().argsort()[:30].tolist())
        assert index[30:].tolist() == list(range(120, 130))


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
