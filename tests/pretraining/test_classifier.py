"""A backbone learns to name objects, and a detector takes it."""

import torch
from helpers.tiny import tiny_config
from mmdet.registry import METRICS, MODELS
from mmengine.registry import init_default_scope

import mask_dino.pretraining  # noqa: F401  registers the classifier
from mask_dino.pretraining.classifier import count_right, find_channels

SIZE = 32


def build() -> torch.nn.Module:
    """Return a small classifier of three classes."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    backbone = tiny_config().backbone
    backbone.norm_cfg = dict(type='BN')
    preprocessor = dict(type='mmengine.ImgDataPreprocessor')
    return MODELS.build(
        dict(
            type='BackboneClassifier',
            backbone=backbone,
            num_classes=3,
            size=SIZE,
            data_preprocessor=preprocessor,
        )
    )


def test_channels_are_those_of_the_maps_and_finding_them_changes_nothing():
    model = build()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    assert find_channels(model.backbone, SIZE) == [8, 16, 32, 64]
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[name])


def test_losses_reach_every_weight_and_go_down():
    model = build()
    images = torch.randn(12, 3, SIZE, SIZE)
    labels = torch.arange(12) % 3
    images += labels[:, None, None, None]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = model(images, labels, mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert losses[-1] < 0.7 * losses[0]


def test_a_batch_without_crops_changes_nothing():
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = model(torch.empty(0, 3, SIZE, SIZE), torch.empty(0, dtype=torch.long), mode='loss')[
        'loss'
    ]
    loss.backward()
    assert loss == 0
    assert all(parameter.grad.eq(0).all() for parameter in model.parameters())
    for name, value in model.state_dict().items():
        if not name.endswith('num_batches_tracked'):
            assert torch.equal(value, before[name])


def test_the_accuracy_counts_objects_not_images():
    metric = METRICS.build(dict(type='ObjectAccuracy'))
    metric.process(None, count_right(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1])))
    metric.process(None, count_right(torch.tensor([0]), torch.tensor([0])))
    metric.process(None, count_right(torch.tensor([]), torch.tensor([])))
    figures = metric.evaluate(size=3)
    assert figures == {'objects/accuracy': 0.75, 'objects/count': 4.0}
