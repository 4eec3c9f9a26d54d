import pytest
import torch
from helpers.tiny import build, random_targets

from mask_dino.boxes import masks_to_boxes
from mask_dino.models.queries import QuerySelection
from mask_dino.ops.stray_pixels import remove_stray_pixels
from mask_dino.structures import Predictions, Queries


@pytest.fixture
def model():
    return build().eval()


def test_prediction_is_the_last_layer_of_training(model, images, generator):
    with torch.no_grad():
        feats = model.extract_feat(images)
        outputs = model.panoptic_head(feats, [random_targets(2, generator)] * 2)
        expected = Predictions(*(x[-1] for x in outputs.layers)).decode(outputs.mask_features)
        for a, b in zip(model.panoptic_head.predict(feats), expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_matching_queries_do_not_see_the_ground_truth(model, images, generator):
    with torch.no_grad():
        feats = model.extract_feat(images)
        first, second = (
            model.panoptic_head(feats, [random_targets(n, generator)] * 2).layers for n in (2, 5)
        )
        torch.testing.assert_close(first.logits, second.logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(first.boxes, second.boxes, atol=1e-5, rtol=1e-5)


def test_a_denoising_group_does_not_see_another(model, images, generator):
    head = model.panoptic_head
    with torch.no_grad():
        mask_features, memory = head.pixel_decoder(model.extract_feat(images))
        queries, _ = head.queries(memory, head.prediction, mask_features)
        noised = head.denoising([random_targets(3, generator)] * 2, queries.content.shape[1])
        results = []
        for change in (0.0, 1.0):
            content = noised.queries.content.clone()
            content[:, :3] += change  # the first of four groups
            joined = Queries(
                torch.cat((content, queries.content), 1),
                torch.cat((noised.queries.reference, queries.reference), 1),
            )
            results.append(
                head.decoder(joined, memory, head.prediction, noised.attn_mask)[-1].content
            )
        same = torch.isclose(*results, atol=1e-5).all(-1).all(0)
        assert not same[:3].any()
        assert same[3:].all()


def test_images_of_a_batch_do_not_mix(model, images):
    with torch.no_grad():
        both = model(images, mode='tensor')
        for i in range(2):
            alone = model(images[i : i + 1], mode='tensor')
            for a, b in zip(both, alone, strict=True):
                torch.testing.assert_close(a[i : i + 1], b, atol=1e-4, rtol=1e-4)


def test_fewer_tokens_than_queries_give_all_of_them(images):
    model = build(queries=dict(num_queries=500)).eval()
    with torch.no_grad():
        predictions = model(images, mode='tensor')
    tokens = sum((64 // s) * (96 // s) for s in (8, 16, 32)) + 1 * 2
    assert predictions.logits.shape[:2] == (2, tokens)


def test_selected_queries_are_detached(model, images):
    head = model.panoptic_head
    mask_features, memory = head.pixel_decoder(model.extract_feat(images))
    queries, predictions = head.queries(memory, head.prediction, mask_features)
    assert not queries.content.requires_grad
    assert not queries.reference.requires_grad
    assert all(x.requires_grad for x in predictions)


def test_selection_takes_the_highest_scores(model, images):
    head = model.panoptic_head
    with torch.no_grad():
        _, memory = head.pixel_decoder(model.extract_feat(images))
        index = head.queries.select(memory.tokens, head.prediction)
        scores = head.prediction.class_embed(head.queries.proj(memory.tokens)).max(-1).values
    for row, chosen in zip(scores, index, strict=True):
        others = torch.ones(len(row), dtype=torch.bool)
        others[chosen] = False
        assert row[chosen].min() >= row[others].max()


@pytest.mark.parametrize('window', [0, -2.0, float('nan')])
def test_a_window_that_is_not_positive_is_refused(window):
    with pytest.raises(ValueError, match=r'queries.mask_window=.*: set a number above 0'):
        QuerySelection(4, [0.1], boxes_from_masks=True, mask_window=window, embed_dims=4)


@pytest.mark.parametrize('mask_window', [None, 2.0])
def test_the_decoder_starts_from_the_boxes_of_masks(mask_window):
    masks = torch.zeros(1, 4, 16, 16, dtype=torch.bool)
    masks[0, :, 15, 15] = True
    masks[0, :, 3:8, 2:6] = True
    boxes = torch.tensor([4 / 16, 5.5 / 16, 4 / 16, 5 / 16]).expand(1, 4, 4)
    queries = QuerySelection(4, [0.1], boxes_from_masks=True, mask_window=mask_window, embed_dims=4)
    # Query i reads channel i, which is mask i.
    predictions = Predictions(torch.zeros(1, 4, 2), boxes, torch.eye(4)[None])
    start = queries.initial_boxes(predictions, masks.float() - 0.5)
    nearby = masks if mask_window is None else remove_stray_pixels(masks, boxes, mask_window)
    torch.testing.assert_close(start, masks_to_boxes(nearby))
    assert torch.allclose(start, boxes) == (mask_window is not None)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(pixel_decoder=dict(num_levels=2)), 'num_levels=2'),
        (dict(queries=dict(anchor_sizes=[0.1, 0.05])), 'anchor_sizes has 2 sizes'),
        (
            dict(decoder=dict(like_dino=True)),
            'like_dino=True .*separate_box_branches=True and decoder.normalise_content_once=True',
        ),
        (dict(embed_dims=48), 'embed_dims=48 must be a multiple of 32'),
        (dict(num_things_classes=0), 'must be 1 or more'),
    ],
)
def test_settings_that_do_not_fit_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        build(**config)


def test_maps_of_another_backbone_are_named(images):
    model = build(pixel_decoder=dict(in_channels=[8, 16, 32, 128]))
    with pytest.raises(
        ValueError, match=r'in_channels=\[8, 16, 32, 128\].*\[8, 16, 32, 64\] channels'
    ):
        model(images, mode='tensor')


def test_a_prior_makes_every_class_improbable(images):
    model = build(prior_prob=0.01).eval()
    with torch.no_grad():
        assert model(images, mode='tensor').logits.sigmoid().mean() < 0.05


@pytest.mark.parametrize('dtype', [torch.bfloat16])
def test_mixed_precision_follows_float32(dtype, images, generator):
    targets = [random_targets(n, generator) for n in (2, 3)]
    model = build()
    losses = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast('cpu', dtype, enabled=enabled):
            losses.append(model.panoptic_head.loss(model.extract_feat(images), targets))
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value, rtol=0.1, atol=0.05, msg=name)
    sum(losses[1].values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_no_weights_are_used_without_gradients_in_training(images, generator):
    """Autocast of torch 2.4 and before keeps what it casts then, and gives these weights no gradient in that step."""
    model = build()
    careless = set()

    def watch(module, *_):
        if (
            any(p.requires_grad for p in module.parameters(recurse=False))
            and not torch.is_grad_enabled()
        ):
            careless.add(module)

    for module in model.modules():
        module.register_forward_hook(watch)
    model.panoptic_head.loss(
        model.extract_feat(images), [random_targets(n, generator) for n in (2, 3)]
    )
    assert not careless


def test_gradient_checkpointing_changes_no_number(images):
    targets = [random_targets(count, torch.Generator().manual_seed(count)) for count in (3, 1)]
    results = []
    for with_cp in (False, True):
        model = build(pixel_decoder=dict(with_cp=with_cp), decoder=dict(with_cp=with_cp)).train()
        for block in model.backbone.layer1:
            block.with_cp = with_cp
        torch.manual_seed(0)
        losses = model.panoptic_head.loss(model.extract_feat(images), targets)
        sum(losses.values()).backward()
        results.append((losses, [p.grad for p in model.parameters() if p.requires_grad]))
    (plain, plain_grads), (saved, saved_grads) = results
    assert all(plain[name].equal(saved[name]) for name in plain)
    assert all(a.equal(b) for a, b in zip(plain_grads, saved_grads, strict=True))
