import pytest
import torch
from helpers import dense
from helpers.tiny import NUM_CLASSES, build, random_targets, tiny_config
from mmdet.registry import MODELS

from mask_dino.models.loss_inputs import LossInputs
from mask_dino.structures import Predictions

NUM_POINTS = 128


@pytest.fixture
def head():
    return build().panoptic_head


@pytest.fixture
def feats(images):
    return build().extract_feat(images)


@pytest.fixture
def targets(generator):
    return [random_targets(n, generator) for n in (3, 4)]


def some_matches(targets, generator, queries=20):
    pairs = []
    for t in targets:
        count = len(t.labels)
        pairs.append(
            (torch.randperm(queries, generator=generator)[None, :count], torch.arange(count)[None])
        )
    return pairs


def test_losses_equal_the_dense_ones_in_expectation(head, feats, targets, generator):
    criterion = head.criterion
    with torch.no_grad():
        outputs = head(feats, targets)
        # sharper masks than those of an untrained network, or every point is as uncertain as any other
        features = outputs.mask_features * 20
        predictions = Predictions(*(x[-1:] for x in outputs.layers))
        matches = some_matches(targets, generator)
        normalizer = torch.full((2,), 7.0)

        def ours():
            points = criterion.sample_points(features, targets)
            return criterion.losses(
                LossInputs([''], predictions, matches, normalizer), targets, points
            )

        def yardstick():
            last = Predictions(*(x[0] for x in predictions))
            masks = last.decode(features).masks
            return dense.losses(
                last, masks, targets, [(q[0], t[0]) for q, t in matches], NUM_POINTS
            )

        runs = 60
        drawn, expected = [ours() for _ in range(runs)], [yardstick() for _ in range(runs)]
    assert drawn[0].keys() == expected[0].keys()
    for name in drawn[0]:
        a, b = (torch.stack([losses[name] for losses in side]) for side in (drawn, expected))
        error = ((a.var() + b.var()) / runs).sqrt()
        assert abs(a.mean() - b.mean()) <= 4 * error + 1e-5 * b.mean(), name
        if name in ('loss_mask', 'loss_dice'):
            # sharing the points costs some variance, not orders of magnitude
            assert 0 < a.std() < 4 * b.std(), name


def test_the_criterion_equals_the_dense_one_in_expectation(head, feats, targets):
    """Matching included: of the costs that it compares, those of masks are small here, so that it is the same."""
    yardstick = build(criterion=dict(type='DenseCriterion')).panoptic_head.criterion
    with torch.no_grad():
        outputs = head(feats, targets)
        runs = 12
        drawn, expected = (
            [side(outputs, targets) for _ in range(runs)] for side in (head.criterion, yardstick)
        )
    assert drawn[0].keys() == expected[0].keys() == expected_names()
    for name in drawn[0]:
        a, b = (torch.stack([losses[name] for losses in side]) for side in (drawn, expected))
        error = ((a.var() + b.var()) / runs).sqrt()
        assert abs(a.mean() - b.mean()) <= 4.5 * error + 1e-3 * b.mean().abs(), name


def expected_names(layers=2):
    kinds = ('loss_cls', 'loss_bbox', 'loss_iou', 'loss_mask', 'loss_dice')
    prefixes = [*(f'd{i}.' for i in range(layers)), '']
    return {f'{p}{dn}{k}' for p in prefixes for dn in ('', 'dn_') for k in kinds} | {
        f'enc_{k}' for k in kinds
    }


@pytest.mark.parametrize('counts', [(3, 4), (0, 2), (0, 0), (1, 1), (30, 25)])
def test_any_number_of_objects_gives_the_same_losses_and_a_gradient_everywhere(
    counts, images, generator
):
    model = build()
    targets = [random_targets(n, generator) for n in counts]
    losses = model.panoptic_head.loss(model.extract_feat(images), targets)
    assert losses.keys() == expected_names()
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_learned_queries_have_no_denoising_loss_before_the_first_layer(images, generator):
    queries = dict(_delete_=True, type='LearnedQueries', num_queries=10)
    head = build(queries=queries).panoptic_head
    losses = head.loss(build().extract_feat(images), [random_targets(2, generator)] * 2)
    missing = {name for name in expected_names() if name.startswith(('enc_', 'd0.dn_'))}
    assert losses.keys() == expected_names() - missing
    sum(losses.values()).backward()
    assert head.queries.reference.weight.grad.abs().sum() > 0


def test_softmax_classes_average_over_queries(images, targets):
    loss = dict(
        _delete_=True,
        type='CrossEntropyLoss',
        loss_weight=4.0,
        class_weight=[1.0] * NUM_CLASSES + [0.1],
    )
    head = build(criterion=dict(loss_cls=loss)).panoptic_head
    assert head.prediction.class_embed.out_features == NUM_CLASSES + 1
    criterion = head.criterion
    logits = torch.randn(2, 20, NUM_CLASSES + 1)
    matches = [(torch.arange(len(t.labels))[None],) * 2 for t in targets]
    matched = LossInputs([''], Predictions(logits[None], None, None), matches, torch.ones(2))
    [value] = criterion.class_loss(torch.cat([t.labels for t in targets])[None], matched)
    classes = torch.full((2, 20), NUM_CLASSES)
    for i, t in enumerate(targets):
        classes[i, : len(t.labels)] = t.labels
    weight = torch.tensor([1.0] * NUM_CLASSES + [0.1])
    expected = 4 * torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), classes.flatten(), weight
    )
    torch.testing.assert_close(value, expected)


def test_stuff_has_no_box_loss(feats, targets, generator):
    """With decoupled stuff, box losses are those of the things alone, and are divided by their number."""
    targets = [t._replace(labels=torch.arange(len(t.labels)) % 4) for t in targets]
    config = dict(num_things_classes=2, num_stuff_classes=NUM_CLASSES - 2)
    coupled = build(**config).panoptic_head
    decoupled = build(**config, criterion=dict(decouple_stuff=True)).panoptic_head
    with torch.no_grad():
        outputs = coupled(feats, targets)
        points = coupled.criterion.sample_points(outputs.mask_features, targets)
        matches = some_matches(targets, generator)
        last = Predictions(*(x[-1:] for x in outputs.layers))
        thing = [t.labels[index[0]] < 2 for t, (_, index) in zip(targets, matches, strict=True)]
        things = [(q[:, keep], i[:, keep]) for keep, (q, i) in zip(thing, matches, strict=True)]

        def losses(head, pairs):
            one_to_one = head.criterion.normalizers(targets, outputs.denoising_matches)[0]
            return head.criterion.losses(LossInputs([''], last, pairs, one_to_one), targets, points)

        of_things, of_all = losses(decoupled, things), losses(decoupled, matches)
        plain = losses(coupled, matches)
        for name in ('loss_bbox', 'loss_iou'):
            torch.testing.assert_close(of_all[name], of_things[name])
            assert not torch.isclose(of_all[name], plain[name])
        for name in ('loss_cls', 'loss_mask', 'loss_dice'):
            torch.testing.assert_close(of_all[name], plain[name])
        count = sum(q.shape[1] for q, _ in things)
        assert decoupled.criterion.normalizers(targets, outputs.denoising_matches)[0].tolist() == [
            7,
            count,
        ]


def test_the_weight_of_stuff_scales_its_class_and_mask_losses_alone(feats, targets, generator):
    targets = [t._replace(labels=torch.arange(len(t.labels)) % 4) for t in targets]
    heads = {}
    for weight in (0.0, 0.25, 1.0):
        heads[weight] = build(
            num_things_classes=2,
            num_stuff_classes=NUM_CLASSES - 2,
            criterion=dict(decouple_stuff=True, stuff_weight=weight),
        ).panoptic_head
    with torch.no_grad():
        outputs = heads[1.0](feats, targets)
        points = heads[1.0].criterion.sample_points(outputs.mask_features, targets)
        last = Predictions(*(x[-1:] for x in outputs.layers))
        inputs = LossInputs([''], last, some_matches(targets, generator), torch.ones(2))
        losses = {}
        for weight, head in heads.items():
            losses[weight] = head.criterion.losses(inputs, targets, points)
            counts = head.criterion.normalizers(targets, outputs.denoising_matches)[0]
            labels = torch.cat([t.labels for t in targets])
            num_things = int((labels < 2).sum())
            assert counts.tolist() == [
                num_things + weight * (len(labels) - num_things),
                num_things,
            ]
    for name, value in losses[0.25].items():
        expected = torch.lerp(losses[0.0][name], losses[1.0][name], 0.25)
        torch.testing.assert_close(value, expected)
        is_box_loss = name in ('loss_bbox', 'loss_iou')
        assert torch.isclose(losses[0.0][name], losses[1.0][name]) == is_box_loss, name


@pytest.mark.parametrize('weight', [-0.5, float('nan'), float('inf')])
def test_a_weight_of_stuff_that_is_no_weight_is_refused(weight):
    with pytest.raises(ValueError, match=f'stuff_weight={weight}; set a number from 0'):
        build(criterion=dict(stuff_weight=weight))


def test_a_softmax_has_weights_of_its_own():
    softmax = dict(
        type='mmdet.CrossEntropyLoss', use_sigmoid=False, class_weight=[1.0] * (NUM_CLASSES + 1)
    )
    with pytest.raises(ValueError, match=r'stuff_weight=0\.5 needs loss_cls\.use_sigmoid=True'):
        build(criterion=dict(stuff_weight=0.5, loss_cls=dict(_delete_=True, **softmax)))


def test_boxes_alone_train(images, generator):
    criterion = dict(
        loss_mask=None,
        loss_dice=None,
        matcher=dict(num_points=0, match_costs=[dict(type='FocalLossCost', weight=4.0)]),
    )
    model = build(queries=dict(boxes_from_masks=False), criterion=criterion)
    targets = [
        random_targets(n, generator)._replace(masks=torch.zeros(n, 0, 0, dtype=torch.bool))
        for n in (2, 3)
    ]
    losses = model.panoptic_head.loss(model.extract_feat(images), targets)
    assert losses.keys() == {
        name for name in expected_names() if not name.endswith(('mask', 'dice'))
    }
    sum(losses.values()).backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.panoptic_head.parameters())


def test_contradicting_mask_settings_are_refused():
    with pytest.raises(ValueError, match='boxes_from_masks'):
        build(criterion=dict(loss_mask=None, loss_dice=None))
    config = tiny_config().panoptic_head.criterion
    config.loss_dice = None
    with pytest.raises(ValueError, match='both loss_mask and loss_dice'):
        MODELS.build(config | dict(num_classes=3, num_things_classes=3))
