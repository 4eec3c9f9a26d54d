import pytest
import torch
from helpers.tiny import NUM_CLASSES, random_targets
from mmdet.models.layers.transformer.utils import inverse_sigmoid

from mask_dino.models.denoising import UnifiedDenoising, make_attention_mask
from mask_dino.structures import Targets


def denoising(
    noise_scale: float = 0.4, num_queries: int = 12, flip_prob: float | None = None
) -> UnifiedDenoising:
    torch.manual_seed(0)
    return UnifiedDenoising(NUM_CLASSES, num_queries, noise_scale, flip_prob, embed_dims=32)


@pytest.mark.parametrize('counts', [(3, 1), (1, 1), (0, 2), (0, 0), (30, 2), (7, 12)])
def test_matches_pair_each_copy_with_its_target(counts, generator):
    targets = [random_targets(n, generator) for n in counts]
    module = denoising(noise_scale=0.0)
    noised = module(targets, num_matching=4)
    groups = max(1, 12 // max(1, *counts))
    for i, pairs in enumerate(noised.matches):
        query, index = (x[0] for x in pairs)
        assert len(query) == groups * counts[i]
        assert query.unique().numel() == len(query)
        # without noise, a query is its target
        torch.testing.assert_close(
            noised.queries.reference[i, query], inverse_sigmoid(targets[i].boxes[index])
        )
        torch.testing.assert_close(
            noised.queries.content[i, query], module.label_embed(targets[i].labels[index])
        )
        padding = torch.ones(noised.queries.content.shape[1], dtype=torch.bool)
        padding[query] = False
        assert not noised.queries.content[i, padding].any()
        assert not noised.queries.reference[i, padding].any()


def test_groups_do_not_see_each_other():
    size, groups, matching = 3, 4, 5
    blocked = make_attention_mask(size, groups, matching, torch.device('cpu'))
    group = torch.cat((torch.arange(groups).repeat_interleave(size), torch.full((matching,), -1)))
    for i, row in enumerate(blocked):
        for j, hidden in enumerate(row):
            sees = group[j] == -1 or group[i] == group[j]
            assert bool(hidden) != bool(sees)


@pytest.mark.parametrize(('flip_prob', 'expected'), [(None, 0.2), (0.7, 0.7), (1.0, 1.0)])
def test_labels_flip_with_half_the_noise_or_as_asked(flip_prob, expected):
    labels = torch.full((1, 200_000), 2)
    flipped = denoising(noise_scale=0.4, flip_prob=flip_prob).flip(labels)
    # one draw in NUM_CLASSES gives the label back
    assert (flipped != labels).float().mean().item() == pytest.approx(
        expected * (1 - 1 / NUM_CLASSES), abs=0.005
    )
    others = flipped[flipped != labels].bincount(minlength=NUM_CLASSES).float()
    assert others[2] == 0
    assert others[others > 0].min() > 0.9 * others.max()


def test_boxes_move_and_scale_uniformly_within_the_noise():
    box = torch.tensor([0.5, 0.4, 0.2, 0.1])
    noise = denoising(noise_scale=0.4).jitter(box.expand(1, 200_000, 4))[0] - box
    reach = 0.4 * torch.tensor([0.1, 0.05, 0.2, 0.1])
    relative = noise / reach
    assert relative.abs().max() <= 1 + 1e-4
    torch.testing.assert_close(relative.mean(0), torch.zeros(4), atol=0.01, rtol=0)
    torch.testing.assert_close(relative.var(0), torch.full((4,), 1 / 3), atol=0.01, rtol=0)


def test_noised_boxes_stay_in_the_image():
    boxes = torch.tensor([0.02, 0.98, 0.9, 1.0]).expand(1, 1000, 4)
    noised = denoising(noise_scale=1.0).jitter(boxes)
    assert noised.min() >= 0
    assert noised.max() <= 1


def test_no_object_at_all_is_one_padding_query():
    empty = Targets(
        torch.zeros(0, dtype=torch.long), torch.zeros(0, 4), torch.zeros(0, 8, 8, dtype=torch.bool)
    )
    module = denoising(num_queries=1)
    noised = module([empty, empty], num_matching=4)
    assert noised.queries.content.shape == (2, 1, 32)
    assert all(query.shape == (1, 0) for query, _ in noised.matches)
    noised.queries.content.sum().backward()
    assert module.label_embed.weight.grad is not None
