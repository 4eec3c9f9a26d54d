import pytest
import torch

from mask_dino.boxes import masks_to_boxes, token_centers


def slow_box(mask: torch.Tensor, pixel_exact: bool) -> list[float]:
    height, width = mask.shape
    ys, xs = mask.nonzero().unbind(1)
    if len(xs) == 0:
        return [0, 0, 0, 0] if pixel_exact else [1, 1, 0, 0]
    end = 1 if pixel_exact else 0
    x1, x2, y1, y2 = int(xs.min()), int(xs.max()) + end, int(ys.min()), int(ys.max()) + end
    return [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]


@pytest.mark.parametrize('pixel_exact', [True, False])
def test_boxes_enclose_masks(pixel_exact):
    torch.manual_seed(0)
    density = torch.tensor([0.0, 0.01, 0.05, 0.5, 1.0])[:, None, None, None]
    masks = torch.rand(5, 6, 7, 11) < density
    expected = [[slow_box(mask, pixel_exact) for mask in row] for row in masks]
    torch.testing.assert_close(masks_to_boxes(masks, pixel_exact), torch.tensor(expected))


def test_a_full_mask_fills_the_image():
    assert masks_to_boxes(torch.ones(1, 3, 5, dtype=torch.bool)).tolist() == [[0.5, 0.5, 1.0, 1.0]]


def test_no_mask_no_box():
    assert masks_to_boxes(torch.zeros(0, 3, 5, dtype=torch.bool)).shape == (0, 4)


def test_token_centers_run_along_rows_of_each_level():
    centers = token_centers([(2, 4), (1, 2)], torch.device('cpu'))
    assert centers[:4].tolist() == [[0.125, 0.25], [0.375, 0.25], [0.625, 0.25], [0.875, 0.25]]
    assert centers[4:8, 1].tolist() == [0.75] * 4
    assert centers[8:].tolist() == [[0.25, 0.5], [0.75, 0.5]]
