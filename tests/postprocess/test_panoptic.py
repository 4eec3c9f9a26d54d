import pytest
import torch

from mask_dino.postprocess import ImageSizes, Pairs, Segments, enlarge_rows, merge_masks

SIZES = ImageSizes((48, 64), (40, 60), (57, 71))
NUM_THINGS = 3


def plain(scores, labels, masks, overlap) -> Segments:
    """Segment by segment over the whole map, without a budget."""
    probability = enlarge_rows(masks, SIZES, slice(0, SIZES.output[0])).sigmoid().permute(2, 0, 1)
    owner = (scores[:, None, None] * probability).argmax(0)
    index, found = torch.full(SIZES.output, -1), []
    for k, label in enumerate(labels.tolist()):
        own, solid = owner == k, probability[k] >= 0.5
        segment = own & solid
        if not segment.any() or own.sum().item() / solid.sum().item() < overlap:
            continue
        if label < NUM_THINGS or label not in found:
            found.append(label)
        last = len(found) - 1 if label < NUM_THINGS else found.index(label)
        index[segment] = last
    return Segments(index, found)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('max_pixels', [1, 12 * 71 * 7, 10**9])
@pytest.mark.parametrize('overlap', [0.0, 0.3, 0.8])
def test_it_equals_the_plain_computation(seed, max_pixels, overlap):
    generator = torch.Generator().manual_seed(seed)
    masks = 3 * torch.randn(12, 6, 8, generator=generator)
    masks[5] = -4  # nowhere solid
    scores = torch.rand(12, generator=generator)
    labels = torch.randint(NUM_THINGS + 2, (12,), generator=generator)
    expected = plain(scores, labels, masks, overlap)
    found = merge_masks(
        Pairs(scores, torch.arange(12), labels), masks, SIZES, max_pixels, NUM_THINGS, overlap
    )
    assert found.labels == expected.labels
    assert found.pixels.equal(expected.pixels)
    assert set(found.pixels.unique().tolist()) - {-1} == set(range(len(found.labels)))
    stuff = [label for label in found.labels if label >= NUM_THINGS]
    assert len(set(stuff)) == len(stuff)


@pytest.mark.parametrize('max_pixels', [1, 12 * 71 * 7, 10**9])
def test_queries_that_take_no_part_are_as_if_they_were_not_there(max_pixels):
    generator = torch.Generator().manual_seed(0)
    masks = 3 * torch.randn(12, 6, 8, generator=generator)
    query = torch.tensor([1, 4, 5, 9])
    pairs = Pairs(torch.rand(4, generator=generator), query, torch.tensor([0, 4, 1, 4]))
    alone = merge_masks(
        pairs._replace(query=torch.arange(4)), masks[query], SIZES, max_pixels, NUM_THINGS, 0.0
    )
    found = merge_masks(pairs, masks, SIZES, max_pixels, NUM_THINGS, 0.0)
    assert found.labels == alone.labels
    assert found.pixels.equal(alone.pixels)


def test_equal_masks_go_to_the_first_query():
    masks = torch.full((2, 6, 8), 5.0)
    pairs = Pairs(torch.tensor([0.5, 0.5]), torch.arange(2), torch.tensor([0, 1]))
    found = merge_masks(pairs, masks, SIZES, 10**9, NUM_THINGS, 0.8)
    assert found.labels == [0]
    assert not found.pixels.any()


def test_no_query_is_no_segment():
    none = Pairs(torch.zeros(0), torch.zeros(0).long(), torch.zeros(0).long())
    found = merge_masks(none, torch.zeros(4, 6, 8), SIZES, 99, NUM_THINGS, 0.8)
    assert found.labels == []
    assert found.pixels.shape == SIZES.output
    assert (found.pixels == -1).all()
