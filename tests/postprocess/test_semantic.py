import pytest
import torch

from mask_dino.postprocess import ImageSizes, enlarge_masks, label_pixels, sharpen_classes

SIZES = ImageSizes((48, 64), (40, 60), (57, 71))


@pytest.mark.parametrize('max_pixels', [1, 12 * 71 * 7, 10**9])
def test_a_budget_changes_no_label(max_pixels):
    generator = torch.Generator().manual_seed(0)
    masks, logits = (
        torch.randn(12, 6, 8, generator=generator),
        torch.randn(12, 5, generator=generator),
    )
    classes = sharpen_classes(logits, 0.06)
    votes = torch.einsum('qc,qhw->chw', classes, enlarge_masks(masks, SIZES).sigmoid())
    labels = label_pixels(classes, masks, SIZES, max_pixels)
    assert labels.shape == SIZES.output
    # The two ways to enlarge_masks round differently: a label may differ only where two classes tie.
    best = votes.amax(0)
    torch.testing.assert_close(votes.gather(0, labels[None])[0], best, atol=1e-5, rtol=0)


def test_classes_compete_for_a_query():
    sharp = sharpen_classes(torch.tensor([[2.0, 0.0, -2.0], [-3.0, -3.0, -3.0]]), 0.06)
    torch.testing.assert_close(sharp.sum(1), torch.ones(2))
    assert sharp[0, 0] > 0.99
    torch.testing.assert_close(sharp[1], torch.full((3,), 1 / 3))
