import pytest
import torch

from mask_dino.postprocess import ImageSizes, enlarge_masks, enlarge_rows, scale_boxes, split_rows

LARGER = ImageSizes((48, 64), (40, 60), (83, 121))
SMALLER = ImageSizes((48, 64), (48, 50), (31, 17))


@pytest.mark.parametrize('sizes', [LARGER, SMALLER])
@pytest.mark.parametrize('max_pixels', [1, 5 * 121 * 7, 10**9])
def test_strips_of_masks_are_rows_of_the_whole(sizes, max_pixels):
    masks = torch.randn(5, 12, 16, generator=torch.Generator().manual_seed(0))
    rows = list(split_rows(len(masks), sizes, max_pixels))
    assert [r.start for r in rows] == [0, *(r.stop for r in rows[:-1])]
    assert rows[-1].stop == sizes.output[0]
    parts = [enlarge_rows(masks, sizes, r) for r in rows]
    assert max(part.numel() for part in parts) <= max(max_pixels, 5 * sizes.output[1])
    torch.testing.assert_close(
        torch.cat(parts).permute(2, 0, 1), enlarge_masks(masks, sizes), atol=1e-5, rtol=1e-5
    )


def test_a_strip_is_the_same_to_the_bit_however_the_rows_are_cut():
    masks = torch.randn(5, 12, 16, generator=torch.Generator().manual_seed(0))
    whole = enlarge_rows(masks, LARGER, slice(0, 83))
    for rows in split_rows(5, LARGER, 5 * 121 * 7):
        assert enlarge_rows(masks, LARGER, rows).equal(whole[rows])


def test_only_the_wanted_masks_are_enlarged():
    masks = torch.randn(5, 12, 16, generator=torch.Generator().manual_seed(0))
    rows, query = slice(20, 33), torch.tensor([3, 0, 3])
    torch.testing.assert_close(
        enlarge_rows(masks, LARGER, rows, query), enlarge_rows(masks, LARGER, rows)[..., query]
    )


def test_boxes_leave_through_the_padded_size():
    sizes = ImageSizes(padded=(100, 200), resized=(50, 150), output=(100, 300))
    boxes = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.25, 0.25, 0.5, 0.5]])
    assert scale_boxes(boxes, sizes).tolist() == [[0, 0, 400, 200], [0, 0, 200, 100]]
