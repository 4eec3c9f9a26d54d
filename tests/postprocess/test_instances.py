import pytest
import torch

from mask_dino.postprocess import ImageSizes, best_pairs, binarise, enlarge, instances


@pytest.mark.parametrize('max_pixels', [1, 3 * 80 * 120, 10**9])
def test_chunks_of_masks_change_no_result(max_pixels):
    torch.manual_seed(0)
    masks = torch.randn(7, 12, 16)
    sizes = ImageSizes((48, 64), (40, 60), (80, 120))
    logits = enlarge(masks, sizes)
    binary, quality = binarise(masks, sizes, max_pixels)
    assert binary.equal(logits > 0)
    expected = torch.stack([x.sigmoid()[x > 0].mean() for x in logits])
    torch.testing.assert_close(quality, expected)


def test_an_empty_mask_scores_zero():
    binary, quality = binarise(torch.full((1, 4, 4), -5.0), ImageSizes((16, 16), (16, 16), (16, 16)), 10**6)
    assert not binary.any()
    assert quality.tolist() == [0]


def test_the_best_pairs_of_query_and_class():
    logits = torch.tensor([[0.0, 3.0], [2.0, -1.0], [1.0, -5.0]])
    pairs = best_pairs(logits, 3)
    assert list(zip(pairs.query.tolist(), pairs.labels.tolist(), strict=True)) == [(0, 1), (1, 0), (2, 0)]
    torch.testing.assert_close(pairs.scores, torch.tensor([3.0, 2.0, 1.0]).sigmoid())
    assert len(best_pairs(logits, 100).scores) == 6
    chosen = pairs.where(pairs.labels < 1)
    assert chosen.query.tolist() == [1, 2]


def test_no_pair_is_no_instance():
    pairs = best_pairs(torch.zeros(3, 2), 4)
    found = instances(
        pairs.where(pairs.labels > 5), torch.rand(3, 4), torch.randn(3, 4, 4), ImageSizes(*[(16, 16)] * 3), 99
    )
    assert [len(x) for x in found] == [0] * 4
    assert found.masks.shape == (0, 16, 16)
