import pytest
import torch

from mask_dino.ops.points import PointSampler, random_points
from mask_dino.structures import Targets


def test_points_stay_on_known_pixels_and_reach_all_of_them():
    torch.manual_seed(0)
    known = torch.rand(9, 14) > 0.6
    points = random_points(20_000, known.device, known) * torch.tensor([14, 9])
    x, y = points.long().unbind(-1)
    torch.testing.assert_close(points % 1, torch.full_like(points, 0.5), atol=1e-4, rtol=0)
    counts = torch.zeros(9, 14).index_put((y, x), torch.ones(len(points)), accumulate=True)
    assert (counts[~known] == 0).all()
    expected = len(points) / known.sum()
    assert ((counts[known] - expected).abs() < 5 * expected.sqrt()).all()


def test_points_are_anywhere_where_nothing_is_known():
    points = random_points(50, torch.device('cpu'), torch.zeros(9, 14, dtype=torch.bool))
    assert points.shape == (50, 2)
    assert ((points >= 0) & (points <= 1)).all()


@pytest.mark.parametrize(('side', 'keeps_map'), [(11, True), (12, False)])
def test_a_map_that_is_smaller_than_its_points_stands_for_them(side, keeps_map, generator):
    sampler = PointSampler(num_points=40)  # 120 candidates and ten more
    features = torch.randn(8, side, side, generator=generator)
    target = Targets(
        torch.zeros(2, dtype=torch.long), torch.rand(2, 4), torch.ones(2, 48, 48, dtype=torch.bool)
    )
    (points,) = sampler(features[None], [target])
    assert points.masks.shape == (2, 130)
    assert (points.corners is not None) == keeps_map
    assert points.features.shape == (8, side**2 if keeps_map else 130)
