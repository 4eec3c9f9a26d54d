import pytest
import torch

from mask_dino.boxes import masks_to_boxes
from mask_dino.ops.stray_pixels import remove_stray_pixels


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
