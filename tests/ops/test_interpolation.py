import pytest
import torch
import torch.nn.functional as F

from mask_dino.ops.interpolation import Corners, sample_features, sample_masks


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
    points = torch.rand(100, 2)
    masks = torch.einsum('qc,chw->qhw', embed, features)
    expected = grid_sample(masks[:, None], points)[:, 0]
    torch.testing.assert_close(
        embed @ sample_features(features, points), expected, atol=1e-5, rtol=1e-5
    )


def test_no_mask_gives_no_value():
    assert sample_masks(torch.zeros(0, 4, 4, dtype=torch.bool), torch.rand(7, 2)).shape == (0, 7)


@pytest.mark.parametrize('channels', [0, 1, 5])
def test_gradients_are_spread_as_autograd_spreads_them(channels, generator):
    points = torch.rand(300, 2, generator=generator) * 1.4 - 0.2  # some outside
    corners = Corners.around(points, torch.Size((6, 7)))
    maps = torch.randn(channels, 42, generator=generator, requires_grad=True)
    values = corners.interpolate(maps)
    expected = grid_sample(maps.view(channels, 1, 6, 7), points)[:, 0] if channels else values
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)
    gradient = torch.randn(values.shape, generator=generator)
    (through_autograd,) = torch.autograd.grad(values, maps, gradient)
    torch.testing.assert_close(corners.spread(gradient, 42), through_autograd)
