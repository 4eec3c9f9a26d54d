import pytest
import torch

from mask_dino.boxes import masks_to_boxes, remove_stray_pixels, token_centers


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


def is_near(index: int, size: int, center: float, side: float) -> bool:
    """Whether pixel ``index`` of ``size`` overlaps with an interval, in exact arithmetic of pixels."""
    return index <= (center + side / 2) * size and index + 1 >= (center - side / 2) * size


@pytest.mark.parametrize('window', [0.5, 1.0, 2.0])
def test_stray_pixels_are_removed_where_most_of_a_mask_is_near_its_box(window):
    torch.manual_seed(0)
    density = torch.tensor([0.0, 0.05, 0.3, 1.0])[:, None, None, None]
    masks = torch.rand(4, 8, 9, 13) < density
    boxes = 0.3 + 0.7 * torch.rand(4, 8, 4)
    cleaned = remove_stray_pixels(masks, boxes, window)
    num_cleaned = 0
    for mask, box, result in zip(
        masks.flatten(0, 1), boxes.view(-1, 4), cleaned.flatten(0, 1), strict=True
    ):
        x, y, width, height = box.tolist()
        near = torch.tensor(
            [
                [
                    is_near(row, 9, y, height * window) and is_near(column, 13, x, width * window)
                    for column in range(13)
                ]
                for row in range(9)
            ]
        )
        is_mostly_near = 2 * (mask & near).sum() >= mask.sum()
        num_cleaned += int(is_mostly_near)
        assert torch.equal(result, mask & near if is_mostly_near else mask)
    assert 8 <= num_cleaned < 32  # at least the empty masks, but not all


def test_one_stray_pixel_does_not_enlarge_a_box():
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 2:5, 2:5] = True
    alone = masks_to_boxes(mask)
    mask[0, 15, 15] = True
    cleaned = remove_stray_pixels(mask, alone, window=2.0)
    torch.testing.assert_close(masks_to_boxes(cleaned), alone)


def test_token_centers_run_along_rows_of_each_level():
    centers = token_centers([(2, 4), (1, 2)], torch.device('cpu'))
    assert centers[:4].tolist() == [[0.125, 0.25], [0.375, 0.25], [0.625, 0.25], [0.875, 0.25]]
    assert centers[4:8, 1].tolist() == [0.75] * 4
    assert centers[8:].tolist() == [[0.25, 0.5], [0.75, 0.5]]
