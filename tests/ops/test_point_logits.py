import pytest
import torch

from mask_dino.ops import point_logits
from mask_dino.ops.interpolation import Corners
from mask_dino.ops.point_logits import pick_logits
from mask_dino.ops.points import MaskPoints, PointSampler

NO_MASKS = torch.zeros(0, 130)


def picked(sampler, embed, points):
    """All parts of what the sampler picks, together."""
    parts = pick_logits(embed, points, sampler.choose_points)
    return torch.cat([logits for logits, _ in parts]), torch.cat([index for _, index in parts])


@pytest.mark.parametrize('count', [0, 1, 7])
@pytest.mark.parametrize('limit', [1, 1000, 2**22])
@pytest.mark.parametrize('has_map', [False, True])
def test_values_and_gradients_are_those_of_the_whole_product(count, limit, has_map, monkeypatch):
    monkeypatch.setattr(point_logits, 'MAX_LOGITS_ON_CPU', limit)
    torch.manual_seed(0)
    sampler = PointSampler(num_points=40)
    embed = torch.randn(count, 8, requires_grad=True)
    corners = Corners.around(torch.rand(130, 2), torch.Size((9, 10))) if has_map else None
    features = torch.randn(8, 90 if has_map else 130, requires_grad=True)
    logits, chosen = picked(sampler, embed, MaskPoints(features, corners, NO_MASKS))
    everywhere = embed @ (corners.interpolate(features) if has_map else features)
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
