import pytest
import torch

from mask_dino.ops import covered_pixels
from mask_dino.ops.covered_pixels import find_covered_pixels


@pytest.mark.parametrize('max_pixels', [1, 7, 1000])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_masks_cover_the_pixels_of_positive_logits(max_pixels, layout, monkeypatch, generator):
    monkeypatch.setattr(covered_pixels, 'PIXELS_AT_ONCE', max_pixels)
    # Whole numbers, so that the order of additions changes no logit.
    embed = torch.randint(-3, 4, (2, 5, 8), generator=generator).float()
    features = torch.randint(-3, 4, (2, 8, 4, 6), generator=generator).float()
    covered = find_covered_pixels(embed, features.contiguous(memory_format=layout))
    assert covered.equal(torch.einsum('bqc,bchw->bqhw', embed, features) > 0)
