import pytest
import torch

from mask_dino.postprocess import (
    ImageSizes,
    Pairs,
    binarise_masks,
    enlarge_masks,
    make_instances,
    scale_boxes,
    select_best_pairs,
)


@pytest.mark.parametrize('max_pixels', [1, 3 * 80 * 120, 10**9])
def test_chunks_of_masks_change_no_result(max_pixels):
    torch.manual_seed(0)
    masks = torch.randn(7, 12, 16)
    sizes = ImageSizes((48, 64), (40, 60), (80, 120))
    logits = enlarge_masks(masks, sizes)
    query, binary = torch.tensor([6, 0, 2]), torch.zeros(4, *sizes.output, dtype=torch.bool)
    quality = binarise_masks(masks, query, sizes, max_pixels, binary)
    assert binary[:3].equal(logits[query] > 0)
    assert not binary[3].any()
    expected = torch.stack([x.sigmoid()[x > 0].mean() for x in logits[query]])
    torch.testing.assert_close(quality, expected)


@pytest.mark.parametrize('max_pixels', [1, 3 * 80 * 120, 10**9])
def test_instances_are_sorted_whole_also_where_queries_have_several_classes(max_pixels):
    generator = torch.Generator().manual_seed(0)
    masks, boxes = (
        torch.randn(7, 12, 16, generator=generator),
        torch.rand(7, 4, generator=generator),
    )
    sizes = ImageSizes((48, 64), (40, 60), (80, 120))
    pairs = Pairs(
        torch.rand(6, generator=generator), torch.tensor([3, 1, 3, 6, 1, 3]), torch.arange(6)
    )
    found = make_instances(pairs, boxes, masks, sizes, max_pixels)
    logits = enlarge_masks(masks, sizes)
    scores = [
        score * logits[q].sigmoid()[logits[q] > 0].mean()
        for score, q in zip(pairs.scores, pairs.query, strict=True)
    ]
    order = torch.stack(scores).argsort(descending=True)
    assert found.labels.equal(order)
    assert found.masks.equal(logits[pairs.query[order]] > 0)
    torch.testing.assert_close(found.scores, torch.stack(scores)[order])
    assert found.boxes.equal(scale_boxes(boxes, sizes)[pairs.query[order]])


def test_an_empty_mask_scores_zero():
    binary, first = torch.ones(1, 16, 16, dtype=torch.bool), torch.tensor([0])
    quality = binarise_masks(
        torch.full((1, 4, 4), -5.0), first, ImageSizes(*[(16, 16)] * 3), 10**6, binary
    )
    assert not binary.any()
    assert quality.tolist() == [0]


def test_the_best_pairs_of_query_and_class():
    logits = torch.tensor([[0.0, 3.0], [2.0, -1.0], [1.0, -5.0]])
    pairs = select_best_pairs(logits, 3)
    assert list(zip(pairs.query.tolist(), pairs.labels.tolist(), strict=True)) == [
        (0, 1),
        (1, 0),
        (2, 0),
    ]
    torch.testing.assert_close(pairs.scores, torch.tensor([3.0, 2.0, 1.0]).sigmoid())
    assert len(select_best_pairs(logits, 100).scores) == 6
    chosen = pairs.where(pairs.labels < 1)
    assert chosen.query.tolist() == [1, 2]


def test_no_pair_is_no_instance():
    pairs = select_best_pairs(torch.zeros(3, 2), 4)
    found = make_instances(
        pairs.where(pairs.labels > 5),
        torch.rand(3, 4),
        torch.randn(3, 4, 4),
        ImageSizes(*[(16, 16)] * 3),
        99,
    )
    assert [len(x) for x in found] == [0] * 4
    assert found.masks.shape == (0, 16, 16)


def test_scores_can_depend_on_how_boxes_and_masks_agree():
    masks = torch.full((2, 16, 16), -9.0)
    masks[:, 4:12, 4:12] = 9
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.25, 0.5]])
    pairs = Pairs(torch.tensor([0.6, 0.8]), torch.arange(2), torch.zeros(2, dtype=torch.long))
    sizes = ImageSizes((64, 64), (64, 64), (64, 64))
    as_they_are = make_instances(pairs, boxes, masks, sizes, 2**20)
    weighted = make_instances(pairs, boxes, masks, sizes, 2**20, agreement_scores=True)
    assert as_they_are.scores.tolist() == pytest.approx([0.8, 0.6], abs=0.03)
    assert weighted.scores.tolist() == pytest.approx([0.6, 0.8 * 0.5**0.5], abs=0.03)
    assert weighted.boxes.equal(as_they_are.boxes.flip(0))
