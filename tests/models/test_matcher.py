from itertools import permutations

import pytest
import torch
from helpers.tiny import NUM_CLASSES, random_targets, tiny_config
from mmdet.registry import TASK_UTILS

from mask_dino.models.matcher import HybridMatcher
from mask_dino.structures import Predictions, Targets


def matcher() -> HybridMatcher:
    return TASK_UTILS.build(tiny_config().panoptic_head.criterion.matcher)


def predictions(generator: torch.Generator, sets: int = 1, queries: int = 6) -> Predictions:
    return Predictions(
        torch.randn(sets, 2, queries, NUM_CLASSES, generator=generator),
        torch.rand(sets, 2, queries, 4, generator=generator),
        torch.randn(sets, 2, queries, 8, generator=generator),
    )


@pytest.fixture
def features(generator):
    return torch.randn(2, 8, 16, 24, generator=generator)


def test_the_assignment_is_the_cheapest(generator, features):
    layers = predictions(generator, sets=3)
    targets = [random_targets(n, generator) for n in (3, 4)]
    match = matcher()
    torch.manual_seed(1)
    matches = match(layers, features, targets, NUM_CLASSES)
    torch.manual_seed(1)  # the same points
    for i, target in enumerate(targets):
        image = Predictions(*(x[:, i] for x in layers))
        for layer, cost in enumerate(match.costs(image, features[i], target, NUM_CLASSES)):
            query, index = (x[layer] for x in matches[i])
            count = len(target.labels)
            assert index.sort().values.tolist() == list(range(count))
            least = min(
                sum(cost[q, t] for t, q in enumerate(p))
                for p in permutations(range(len(cost)), count)
            )
            torch.testing.assert_close(cost[query, index].sum(), least)


def test_chunks_change_no_cost(generator, features, monkeypatch):
    layers, target, match = predictions(generator, sets=3), random_targets(3, generator), matcher()
    costs = []
    for size in (2**22, 128 * 4):
        monkeypatch.setattr('mask_dino.models.matcher.MAX_POINT_LOGITS_ON_CPU', size)
        torch.manual_seed(1)
        costs.append(
            match.costs(Predictions(*(x[:, 0] for x in layers)), features[0], target, NUM_CLASSES)
        )
    torch.testing.assert_close(*costs)


def test_perfect_predictions_find_their_targets(generator):
    target = random_targets(4, generator)
    order = torch.tensor([2, 0, 3, 1])
    features = (
        torch.nn.functional.interpolate(target.masks[None].float(), (16, 24), mode='area') * 20 - 10
    )
    logits = torch.full((1, 1, 4, NUM_CLASSES), -6.0)
    logits[0, 0, torch.arange(4), target.labels[order]] = 6.0
    layer = Predictions(logits, target.boxes[order][None, None], torch.eye(4)[order][None, None])
    [(query, index)] = matcher()(layer, features, [target], NUM_CLASSES)
    assert index[0, query[0].argsort()].tolist() == order.tolist()


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), float('-inf')])
@pytest.mark.parametrize('field', ['logits', 'boxes', 'mask_embed'])
def test_costs_that_are_not_finite_are_replaced_and_counted(bad, field, generator, features):
    layer = predictions(generator)
    getattr(layer, field)[0, 0, 1] = bad
    match = matcher()
    targets = [random_targets(n, generator) for n in (3, 2)]
    matches = match(layer, features, targets, NUM_CLASSES)
    assert [query.shape[1] for query, _ in matches] == [3, 2]
    # a focal cost is finite for infinite logits; all else must have been seen
    assert match.num_nonfinite > 0 or field == 'logits'


def test_matching_survives_when_no_cost_is_finite(generator, features):
    layer = Predictions(*(torch.full_like(x, float('nan')) for x in predictions(generator)))
    matches = matcher()(layer, features, [random_targets(2, generator)] * 2, NUM_CLASSES)
    assert [query.shape[1] for query, _ in matches] == [2, 2]


def test_more_objects_than_queries_match_every_query(generator, features):
    matches = matcher()(
        predictions(generator), features, [random_targets(9, generator)] * 2, NUM_CLASSES
    )
    assert all(query[0].tolist() == list(range(6)) for query, _ in matches)


def test_no_object_matches_nothing(generator, features):
    empty = random_targets(0, generator)
    matches = matcher()(predictions(generator), features, [empty, empty], NUM_CLASSES)
    assert all(query.shape == (1, 0) for query, _ in matches)


def test_stuff_has_no_box_cost(generator, features):
    """Moving the boxes of classes without box supervision changes no cost; moving others does."""
    match = matcher()
    target = random_targets(4, generator)._replace(labels=torch.tensor([0, 1, 3, 4]))
    moved = Targets(target.labels, target.boxes.flip(0), target.masks)
    layer = Predictions(*(x[:, 0] for x in predictions(generator)))
    costs = []
    for truth in (target, moved):
        torch.manual_seed(1)
        costs += match.costs(layer, features[0], truth, num_boxed_classes=3)
    same = (costs[0] == costs[1]).all(0)
    assert same.tolist() == [False, False, True, True]
