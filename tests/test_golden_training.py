"""One training step is the original's: every loss, and every gradient."""

import gzip
import json
import re

import numpy as np
import pytest
import torch
from helpers import golden
from helpers.reference import DATA, build
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from mask_dino.checkpoints.maskdino import from_original
from mask_dino.det.detector import to_targets

NAME = 'train_r50_instance'
SEEDS = 12
# Their losses are zero but for rounding: without noise, the boxes of the denoising queries are the ground truth.
NOTHING_BUT_ROUNDING = ('d0.dn_loss_bbox', 'd0.dn_loss_iou')


@pytest.fixture(scope='module')
def case():
    return golden.load_case(DATA / NAME)[0]


@pytest.fixture(scope='module')
def exact(case):
    return step_without_randomness(case, torch.device('cpu'))


def step_without_randomness(case, device):
    """The model without noise and without masks in matching and losses, after one backward pass, and its losses."""
    classification = dict(type='FocalLossCost', weight=4.0, eps=1e-8)
    matcher = dict(match_costs=[classification], num_points=0)
    criterion = dict(
        matcher=matcher, loss_mask=dict(loss_weight=0.0), loss_dice=dict(loss_weight=0.0)
    )
    model = build(NAME, denoising=dict(noise_scale=0.0), criterion=criterion).to(device).train()
    losses = model(**batch(model, case), mode='loss')
    sum(losses.values()).backward()
    return model, {name: loss.item() for name, loss in losses.items()}


def batch(model, case):
    """The images and objects of the case, as they come from the data set."""
    height, width = case['height'], case['width']
    images = [torch.from_numpy(golden.image(seed, height, width)) for seed in case['image_seeds']]
    samples = []
    for objects in case['gt']:
        labels, boxes, masks = golden.ground_truth(objects, height, width)
        truth = InstanceData(labels=torch.from_numpy(labels), bboxes=torch.from_numpy(boxes))
        truth.masks = BitmapMasks(masks.astype(np.uint8), height, width)
        samples.append(DetDataSample(metainfo=dict(img_shape=(height, width)), gt_instances=truth))
    inputs = [image.permute(2, 0, 1).flip(0) for image in images]  # BGR
    return model.data_preprocessor(dict(inputs=inputs, data_samples=samples), True)


def our_name(original):
    """Translate the name of a loss, e.g. ``loss_giou_dn_3``."""
    kind, encoder, dn, layer = re.fullmatch(
        r'loss_([a-z]+?)(_interm)?(_dn)?(?:_(\d))?', original
    ).groups()
    kind = dict(ce='cls', giou='iou').get(kind, kind)
    return f'{f"d{layer}." if layer else ""}{"enc_" if encoder else ""}{"dn_" if dn else ""}loss_{kind}'


def test_exact_losses(case, exact):
    wanted = {our_name(name): value for name, value in case['exact']['losses'].items()}
    _, losses = exact
    assert losses.keys() == wanted.keys()
    for name, value in wanted.items():
        tolerance = dict(abs=1e-4) if name in NOTHING_BUT_ROUNDING else dict(rel=1e-4, abs=0)
        assert losses[name] == pytest.approx(value, **tolerance), name


def test_gradients(case, exact):
    model, _ = exact
    wanted = case['exact']['grads']
    names, origins = list(wanted), trace(model, list(wanted))
    seen = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        origin, index = origins[name]
        seen.append(names[origin])
        reference = wanted[names[origin]]
        assert parameter.grad.norm().item() == pytest.approx(reference['norm'], rel=1e-3), name
        head = [parameter.grad[index == i].item() for i in range(3)]
        typical = reference['norm'] / parameter.numel() ** 0.5
        np.testing.assert_allclose(
            head, reference['head'], rtol=1e-3, atol=1e-2 * typical, err_msg=name
        )
    assert len(seen) == 397 and set(seen) == set(names)


def trace(model, names):
    """From which of the original's parameters ours come, and the place of each of their elements in it.

    The converter tells, being given numbers instead of weights.
    """
    with gzip.open(DATA / NAME / 'manifest.json.gz') as file:
        manifest = json.load(file)
    shift = 32
    numbers = {name: i << shift for i, name in enumerate(names)}
    state = {
        entry['key']: torch.arange(np.prod(entry['shape'])).view(entry['shape'])
        + numbers.get(entry['seed_key'], 0)
        for entry in manifest
    }
    converted = from_original(state, model).state
    return {
        name: (int(value.max()) >> shift, value % (1 << shift)) for name, value in converted.items()
    }


def test_sampled_losses(case):
    model = build(NAME).train()
    data = batch(model, case)
    runs = []
    with torch.no_grad():
        feats = model.extract_feat(data['inputs'])
        size = data['inputs'].shape[-2:]
        targets = [to_targets(sample, size, model.panoptic_head) for sample in data['data_samples']]
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            runs.append(
                {
                    name: loss.item()
                    for name, loss in model.panoptic_head.loss(feats, targets).items()
                }
            )
    wanted = case['sampled']
    for name, mean in wanted['mean'].items():
        ours = np.array([run[our_name(name)] for run in runs])
        # Points shared by all masks make our losses vary more from seed to seed, about the same mean.
        variance = max(ours.var(ddof=1), wanted['std'][name] ** 2)
        error = (variance / SEEDS + wanted['std'][name] ** 2 / wanted['seeds']) ** 0.5
        assert abs(ours.mean() - mean) <= max(3 * error, 0.01 * abs(mean)), name
