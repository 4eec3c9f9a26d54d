"""The network is the original's, number for number."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import golden
from helpers.reference import DATA, Image, align, build, compute, preprocess
from mmdet.evaluation.functional import INSTANCE_OFFSET

TOLERANCE = dict(atol=1e-3, rtol=1e-3)
INSTANCES = ['r50_instance', 'swinl_instance']


@pytest.fixture(scope='module')
def run(request):
    case, reference = golden.load_case(DATA / request.param)
    images = [Image(**image) for image in case['images']]
    model = build(request.param)
    if case['panoptic_on']:
        model.test_cfg.iou_thr = case['overlap_threshold']
    return SimpleNamespace(model=model, images=images, reference=reference)


@pytest.mark.parametrize('run', [*INSTANCES, 'r50_panoptic', 'r50_ade20k'], indirect=True)
def test_every_array_of_the_network(run):
    arrays = compute(run.model, run.images, run.reference)
    network = {name: array for name, array in run.reference.items() if not name.startswith('0_')}
    assert arrays.keys() == network.keys()
    for name, array in network.items():
        np.testing.assert_allclose(arrays[name].numpy(), array, **TOLERANCE, err_msg=name)


@pytest.mark.parametrize('run', [*INSTANCES, 'r50_panoptic'], indirect=True)
def test_instances(run):
    found = predict(run).pred_instances
    wanted = {
        name[7:]: value for name, value in run.reference.items() if name.startswith('0_inst_')
    }
    order = align_instances(found, wanted)
    scores, boxes, masks = found.scores[order], found.bboxes[order], found.masks[order]
    assert len(found) == len(wanted['scores'])
    assert (found.scores.diff() <= 0).all()
    np.testing.assert_array_equal(found.labels[order], wanted['labels'])
    np.testing.assert_allclose(scores, wanted['scores'], atol=1e-3)
    np.testing.assert_allclose(boxes, wanted['boxes'], atol=0.1)
    np.testing.assert_allclose(masks.sum((1, 2)), wanted['mask_area'], rtol=1e-3, atol=1)
    top = np.unpackbits(wanted['masks_top20_packed'], axis=-1, count=masks.shape[-1]).astype(bool)
    different = (masks[:20].numpy() != top).sum((1, 2))
    assert (different <= 1 + 1e-3 * wanted['mask_area'][:20]).all()


@torch.no_grad()
def predict(run):
    """Results of the first image of a case."""
    return run.model(**preprocess(run.model, run.images), mode='predict')[0]


@pytest.mark.parametrize('run', ['r50_panoptic'], indirect=True)
def test_semantic_map(run):
    found = predict(run).pred_sem_seg.sem_seg[0].numpy()
    assert found.shape == run.reference['0_sem_argmax'].shape
    assert (found == run.reference['0_sem_argmax']).mean() >= 0.9999


@pytest.mark.parametrize('run', ['r50_ade20k'], indirect=True)
def test_semantic_scores(run):
    result = predict(run)
    found, scores = result.pred_sem_seg.data[0].numpy(), result.seg_logits.data.numpy()
    assert found.shape == run.reference['0_sem_argmax'].shape
    assert (found == run.reference['0_sem_argmax']).mean() >= 0.9999
    np.testing.assert_allclose(scores[::10, ::4, ::4], run.reference['0_sem_every10th'], atol=1e-4)


@pytest.mark.parametrize('run', ['r50_panoptic'], indirect=True)
def test_panoptic_map(run):
    found = predict(run).pred_panoptic_seg.sem_seg[0].numpy()
    wanted, infos = run.reference['0_pan_seg'], run.reference['0_pan_info']
    values = found[wanted > 0]
    assert len(np.unique(values)) == len(infos) == len(np.unique(wanted)) - (wanted == 0).any()
    assert (wanted == 0)[found == run.model.panoptic_head.num_classes].all()
    for number, label, is_thing in infos:
        value = np.bincount(found[wanted == number]).argmax()
        assert value % INSTANCE_OFFSET == label
        assert bool(value // INSTANCE_OFFSET) == is_thing
        agreement = ((found == value) & (wanted == number)).sum() / (
            (found == value) | (wanted == number)
        ).sum()
        assert agreement >= 0.999


def align_instances(found, wanted):
    """Which instance found is which of the reference: those of equal score may come in another order."""
    ours = torch.cat([found.bboxes, 1000 * found.labels[:, None], 1000 * found.scores[:, None]], 1)
    theirs = [wanted['boxes'], 1000 * wanted['labels'][:, None], 1000 * wanted['scores'][:, None]]
    return align(ours, torch.from_numpy(np.concatenate(theirs, 1)).float())


@pytest.mark.parametrize('run', INSTANCES, indirect=True)
def test_images_of_different_sizes_in_a_batch(run):
    first = run.images[0]
    second = first._replace(seed=99, height=first.height - 40, width=first.width - 70)
    model = run.model
    batch = preprocess(model, [first, second])
    size = batch['inputs'].shape[-2:]
    with torch.no_grad():
        together = model(**batch, mode='tensor')
        for i, image in enumerate((first, second)):
            alone = model(pad(image, size), mode='tensor')
            order = align(together.logits[i], alone.logits[0])
            for a, b in zip(together, alone, strict=True):
                np.testing.assert_allclose(a[i][order], b[0], **TOLERANCE)


def pad(image, size):
    """A normalised image with zeros to its right and below, without the model's own preprocessing."""
    pixels = torch.from_numpy(golden.image(image.seed, image.height, image.width)).permute(2, 0, 1)
    mean, std = (
        torch.tensor(x)[:, None, None] for x in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    )
    return F.pad((pixels - mean) / std, (0, size[1] - image.width, 0, size[0] - image.height))[None]
