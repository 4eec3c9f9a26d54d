import torch
import torch.nn.functional as F

from mask_dino.ops.points import random_points, sample_features, sample_masks


def grid_sample(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    grid = (points * 2 - 1).expand(len(maps), 1, -1, -1)
    return F.grid_sample(maps, grid, align_corners=False)[:, :, 0]


def test_masks_are_sampled_as_by_grid_sample():
    torch.manual_seed(0)
    masks = torch.rand(4, 9, 14) > 0.5
    points = torch.rand(500, 2) * 1.2 - 0.1  # some outside
    expected = grid_sample(masks[:, None].float(), points)[:, 0]
    torch.testing.assert_close(sample_masks(masks, points), expected, atol=1e-5, rtol=0)


def test_sampling_features_and_multiplying_is_sampling_masks():
    torch.manual_seed(0)
    features, embed = torch.randn(8, 6, 7), torch.randn(3, 8)
    points = random_points(100, features.device)
    masks = torch.einsum('qc,chw->qhw', embed, features)
    expected = grid_sample(masks[:, None], points)[:, 0]
    torch.testing.assert_close(
        embed @ sample_features(features, points), expected, atol=1e-5, rtol=1e-5
    )


def test_no_mask_gives_no_value():
    assert sample_masks(torch.zeros(0, 4, 4, dtype=torch.bool), torch.rand(7, 2)).shape == (0, 7)


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
