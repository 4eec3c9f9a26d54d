"""A DINO becomes a Mask DINO that detects as it did."""

import re

import pytest
import torch
from helpers.tiny import random_targets, tiny_config
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from torch import nn

from mask_dino.checkpoints import CheckpointError
from mask_dino.checkpoints.dino import from_dino
from mask_dino.checkpoints.dino_names import ORIGINAL
from mask_dino.checkpoints.maskdino_names import rename_tensors

NUM_CLASSES, NUM_QUERIES, LEVELS, LAYERS = 5, 20, 4, 3
WIDTH = 256  # mmdet's decoder takes it for granted
SIZE = (64, 96)
MASKS = r'(lateral_conv|output_conv|mask_conv|mask_embed)\.'
LIKE_DINO = dict(
    embed_dims=WIDTH,
    pixel_decoder=dict(num_layers=2, temperature=20),
    queries=dict(
        num_queries=NUM_QUERIES,
        anchor_sizes=[0.05, 0.1, 0.2, 0.4],
        boxes_from_masks=False,
        learned_content=True,
        separate_branches=True,
    ),
    decoder=dict(num_layers=LAYERS, separate_box_branches=True, normalise_content_once=True),
)


def attention(**options: object) -> dict:
    return dict(embed_dims=WIDTH, num_heads=8, dropout=0.0, batch_first=True) | options


def make_detector(num_queries: int = NUM_QUERIES, levels: int = LEVELS) -> nn.Module:
    """Return a small DINO of mmdet with random weights, the same at every call; with five levels, also of stride 4."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    ffn = dict(embed_dims=WIDTH, feedforward_channels=32, ffn_drop=0.0)
    deformable = attention(num_levels=levels)
    first = LEVELS + 1 - levels
    layer = dict(self_attn_cfg=attention(), cross_attn_cfg=deformable, ffn_cfg=ffn)
    model = dict(
        type='DINO',
        num_queries=num_queries,
        num_feature_levels=levels,
        with_box_refine=True,
        as_two_stage=True,
        data_preprocessor=dict(type='DetDataPreprocessor'),
        backbone=tiny_config().backbone,
        neck=dict(
            type='ChannelMapper',
            in_channels=[8, 16, 32, 64][first:],
            kernel_size=1,
            out_channels=WIDTH,
            act_cfg=None,
            norm_cfg=dict(type='GN', num_groups=32),
            num_outs=levels,
        ),
        encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=LAYERS, return_intermediate=True, layer_cfg=layer, post_norm_cfg=None
        ),
        positional_encoding=dict(num_feats=WIDTH // 2, normalize=True, offset=0.0, temperature=20),
        bbox_head=dict(
            type='DINOHead',
            num_classes=NUM_CLASSES,
            embed_dims=WIDTH,
            sync_cls_avg_factor=True,
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss'),
            loss_iou=dict(type='GIoULoss'),
        ),
        dn_cfg=dict(
            label_noise_scale=0.5,
            box_noise_scale=1.0,
            group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=9),
        ),
    )
    model['backbone'].out_indices = tuple(range(first, 4))
    detector = MODELS.build(model).eval()
    detector.init_weights()
    for name, parameter in detector.named_parameters():
        is_scale = 'norm' in name and name.endswith('weight')
        nn.init.normal_(parameter, mean=float(is_scale), std=0.05 if parameter.ndim < 2 else 0.03)
    return detector


def share_branches(detector: nn.Module) -> None:
    """Let all decoder layers have the branches of the last, as in the original DINO."""
    for branches in (detector.bbox_head.cls_branches, detector.bbox_head.reg_branches):
        for branch in branches[: LAYERS - 1]:
            branch.load_state_dict(branches[LAYERS - 1].state_dict())


def make_model(**head: object) -> nn.Module:
    init_default_scope('mmdet')
    torch.manual_seed(1)
    return MODELS.build(tiny_config(**{**LIKE_DINO, **head})).eval()


@torch.no_grad()
def detect(detector: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return class logits and boxes of the last layer of mmdet's DINO."""
    sample = DetDataSample(metainfo=dict(img_shape=SIZE, batch_input_shape=SIZE))
    classes, boxes = detector._forward(images, [sample] * len(images))[:2]
    return classes[-1], boxes[-1]


STRIDE_4 = dict(
    pixel_decoder=dict(num_layers=2, temperature=20, num_levels=5, first_level=0),
    queries=LIKE_DINO['queries'] | dict(anchor_sizes=[0.05, 0.1, 0.2, 0.4, 0.8]),
)


@pytest.mark.parametrize(('levels', 'head'), [(4, {}), (5, STRIDE_4)])
def test_it_detects_as_the_detector_does(levels, head):
    detector, model = make_detector(levels=levels), make_model(**head)
    found = from_dino(detector.state_dict(), model)
    model.load_state_dict(found.state)
    assert found.differences == []
    ours, logits, boxes, inside = both(model, detector)
    torch.testing.assert_close(ours.boxes[inside], boxes[inside], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ours.logits[inside], logits[inside], atol=1e-3, rtol=1e-3)


def test_one_box_branch_detects_nearly_so_where_the_detector_has_one():
    detector, model = make_detector(), make_model(decoder=dict(num_layers=LAYERS))
    share_branches(detector)
    found = from_dino(detector.state_dict(), model)
    model.load_state_dict(found.state)
    assert found.differences == [
        'decoder.separate_box_branches=True',
        'decoder.normalise_content_once=True',
    ]
    ours, logits, boxes, inside = both(model, detector)
    torch.testing.assert_close(ours.boxes[inside], boxes[inside], atol=1e-3, rtol=1e-3)
    # Classes are read off queries that are normalised twice, which is made up for on average.
    assert (ours.logits - logits)[inside].abs().mean() < 0.1 * logits[inside].std()
    assert (ours.logits.argmax(-1) == logits.argmax(-1))[inside].float().mean() > 0.9


def both(model: nn.Module, detector: nn.Module) -> tuple:
    """Return what the model predicts, the logits and boxes of the detector, and which boxes the two treat alike."""
    images = torch.randn(2, 3, *SIZE)
    logits, boxes = detect(detector, images)
    with torch.no_grad():
        ours = model(images, mode='tensor')
    # mmdet clamps boxes at the border otherwise: see the decoder.
    inside = ((boxes > 0.01) & (boxes < 0.99)).all(-1)
    assert inside.float().mean() > 0.5
    return ours, logits, boxes, inside


@pytest.mark.parametrize('count', [0, 3])
def test_every_parameter_learns(count):
    model = make_model().train()
    targets = random_targets(count, torch.Generator().manual_seed(0), SIZE)
    losses = model.panoptic_head.loss(model.extract_feat(torch.randn(1, 3, *SIZE)), [targets])
    sum(losses.values()).backward()
    frozen = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not frozen


def test_everything_but_the_mask_branch_is_covered():
    detector, model = make_detector(), make_model()
    found = from_dino(detector.state_dict(), model)
    whole = {module for module, (taken, total) in found.coverage.items() if taken == total}
    assert whole >= {
        'backbone',
        'panoptic_head.queries',
        'panoptic_head.decoder',
        'panoptic_head.denoising',
    }
    missing = sum(total - taken for taken, total in found.coverage.values())
    assert missing == sum(bool(re.search(MASKS, name)) for name in model.state_dict())
    # The class branches of all layers but the last.
    assert all(re.match(r'bbox_head\.cls_branches\.[01]\.', name) for name in found.dropped)


def test_further_layers_begin_as_the_last_and_further_queries_are_cut():
    detector = make_detector(num_queries=NUM_QUERIES + 7)
    state = detector.state_dict()
    decoder = LIKE_DINO['decoder'] | dict(num_layers=LAYERS + 2)
    found = from_dino(state, make_model(decoder=decoder)).state
    for layer, number in enumerate((0, 1, LAYERS - 1, LAYERS - 1)):
        name = f'panoptic_head.decoder.box_embeds.{layer}.layers.1.weight'
        assert found[name].equal(state[f'bbox_head.reg_branches.{number}.2.weight'])
    for layer in (LAYERS - 1, LAYERS, LAYERS + 1):
        name = f'decoder.layers.{layer}.ffn.layers.1.weight'
        assert found[f'panoptic_head.{name}'].equal(
            state[f'decoder.layers.{LAYERS - 1}.ffn.layers.1.weight']
        )
    assert found['panoptic_head.queries.content.weight'].equal(
        state['query_embedding.weight'][:NUM_QUERIES]
    )


def original(state: dict, model: nn.Module) -> dict:
    """Return a detector of mmdet under the names of the original."""
    converted = from_dino(state, model).state
    mine = {
        name.removeprefix('panoptic_head.'): v
        for name, v in converted.items()
        if 'panoptic_head' in name
    }
    theirs = rename_tensors(mine, [pair.reverse() for pair in ORIGINAL.list_names(LAYERS)]).state
    return theirs | {
        name.replace('backbone.', 'backbone.0.body.'): v
        for name, v in state.items()
        if 'backbone' in name
    }


def test_classes_of_coco_are_picked_by_their_numbers():
    """The original DINO has 91 logits for them, and labels for one more."""
    model = make_model(num_things_classes=80)
    state = original(make_detector().state_dict(), make_model())
    numbers = torch.arange(92.0)[:, None]
    for branch in ('transformer.enc_out_class_embed', f'class_embed.{LAYERS - 1}'):
        state |= {
            f'{branch}.weight': numbers[:91].expand(91, WIDTH),
            f'{branch}.bias': numbers[:91, 0],
        }
    found = from_dino(state | {'label_enc.weight': numbers.expand(92, WIDTH)}, model).state
    labels = found['panoptic_head.denoising.label_embed.weight'][:, 0]
    classes = found['panoptic_head.encoder_prediction.class_embed.bias']
    assert classes.equal(labels) and len(labels) == 80
    # person, fire hydrant and stop sign, toothbrush, of which COCO leaves out what is between
    assert labels[[0, 10, 11, 79]].tolist() == [1, 11, 13, 90]


def test_other_classes_are_not_cut_off():
    detector = make_detector().state_dict()
    with pytest.raises(
        CheckpointError,
        match=r'(?s)of another shape.*cls_branches.2.weight \(5, 256\), in the model .*\(4, 256\)',
    ):
        from_dino(detector, make_model(num_things_classes=4))


def test_a_model_of_other_settings_takes_what_it_has_a_place_for():
    queries = dict(num_queries=NUM_QUERIES, boxes_from_masks=False)
    plain = make_model(
        queries=queries, pixel_decoder=dict(num_layers=2), decoder=dict(num_layers=LAYERS)
    )
    found = from_dino(make_detector().state_dict(), plain)
    assert {f'bbox_head.cls_branches.{LAYERS}.weight', 'query_embedding.weight'} <= set(
        found.dropped
    )
    assert [setting.split('=')[0] for setting in found.differences] == [
        'pixel_decoder.temperature',
        'queries.anchor_sizes',
        'queries.learned_content',
        'queries.separate_branches',
        'decoder.separate_box_branches',
        'decoder.normalise_content_once',
    ]


def test_problems_are_named():
    state = make_detector().state_dict()
    state['surprise'] = torch.zeros(1)
    del state['level_embed']
    with pytest.raises(
        CheckpointError,
        match=r'(?s)1 unknown:\n  surprise.*1 missing:\n  panoptic_head.*level_embed',
    ):
        from_dino(state, make_model())
    with pytest.raises(CheckpointError, match='no DINO'):
        from_dino({}, make_model())


def test_both_namings_lead_to_the_same_model():
    """What mmdet's converter of the original DINO does to names, undone here for those that differ."""
    state = make_detector().state_dict()
    expected = from_dino(state, make_model()).state
    theirs = original(state, make_model())
    found = from_dino(theirs, make_model()).state
    for name, value in expected.items():
        if not re.search(MASKS, name):  # they are new
            assert value.equal(found[name]), name
