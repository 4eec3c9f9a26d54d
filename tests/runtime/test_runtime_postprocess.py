import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('onnxruntime')

from mask_dino import postprocess
from mask_dino.boxes import masks_to_boxes
from mask_dino.runtime.enlarge import Enlargement, ImageSizes, make_stencil
from mask_dino.runtime.metadata import Thresholds
from mask_dino.runtime.postprocess import Competitors, Pairs, make_instances, make_panoptic
from mask_dino.runtime.semantic import (
    average_windows,
    make_semantic,
    place_windows,
    resize_scores,
    score_pixels,
)

SIZES = [
    ImageSizes((64, 96), (64, 96), (64, 96)),
    ImageSizes((64, 96), (50, 91), (75, 137)),
    ImageSizes((96, 64), (93, 64), (31, 21)),
    ImageSizes((64, 96), (33, 80), (200, 480)),
]


def smooth_masks(count, sizes, seed=0):
    """Return logits (count, h, w) of blobs."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, count, 5, 6, generator=generator) * 4
    height, width = sizes.padded
    return F.interpolate(coarse, (height // 4, width // 4), mode='bicubic')[0]


def torch_sizes(sizes):
    return postprocess.ImageSizes(*sizes)


@pytest.mark.parametrize('sizes', SIZES)
def test_masks_are_enlarged_as_torch_does_in_two_steps(sizes):
    masks = smooth_masks(3, sizes)
    expected = F.interpolate(masks[None], sizes.padded, mode='bilinear')
    expected = expected[..., : sizes.resized[0], : sizes.resized[1]]
    expected = F.interpolate(expected, sizes.output, mode='bilinear')[0].numpy()
    enlargement = Enlargement.between(masks.shape[-2:], sizes)
    height, width = sizes.output
    np.testing.assert_allclose(
        enlargement.part(masks.numpy(), slice(0, height)), expected, atol=1e-4
    )
    rows, columns = slice(height // 3, height // 2), slice(width // 4, width - 1)
    np.testing.assert_allclose(
        enlargement.part(masks.numpy(), rows, columns), expected[:, rows, columns], atol=1e-4
    )


@pytest.mark.parametrize('align', [False, True])
def test_corners_can_be_aligned(align):
    values = torch.rand(1, 1, 7, 5)
    expected = F.interpolate(values, (20, 13), mode='bilinear', align_corners=align)[0, 0].numpy()
    down, across = make_stencil(7, 20, align), make_stencil(5, 13, align)
    np.testing.assert_allclose(
        down.apply(across.apply(values[0, 0].numpy(), -1), -2), expected, atol=1e-5
    )


@pytest.mark.parametrize('sizes', SIZES)
@pytest.mark.parametrize('keep_masks', [True, False])
@pytest.mark.parametrize(
    ('mean_boxes', 'agreement_scores', 'nms_iou'),
    [(False, False, None), (True, False, 0.5), (False, True, None), (True, True, 0.5)],
)
def test_instances_are_those_of_the_model(sizes, keep_masks, mean_boxes, agreement_scores, nms_iou):
    options = (mean_boxes, agreement_scores, nms_iou)
    masks = smooth_masks(6, sizes)
    masks[4] = -1  # an empty mask
    query = torch.tensor([0, 3, 0, 1, 4, 2, 5])
    scores = torch.linspace(0.9, 0.4, 7)
    labels = torch.tensor([0, 1, 2, 0, 1, 3, 0])
    boxes = masks_to_boxes(masks > 0) * (0.8 + 0.4 * torch.rand(6, 4))
    boxes[3] = 0.5
    masks[5], boxes[5] = masks[1], boxes[1]  # the same object twice
    best = postprocess.Pairs(scores, query, labels)
    expected = postprocess.make_instances(best, boxes, masks, torch_sizes(sizes), 2**22, *options)
    assert (len(expected.scores) < 7) == (nms_iou is not None)
    corners = torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)
    pairs = Pairs(scores.numpy(), labels.numpy(), corners[query].numpy(), query.numpy())
    thresholds = Thresholds(0.0, 0.0, *options)
    made = make_instances(pairs, masks.numpy(), sizes, keep_masks, thresholds)
    np.testing.assert_allclose(made.scores, expected.scores, atol=1e-5)
    assert made.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(made.boxes, expected.boxes, atol=1e-3)
    if keep_masks:
        assert (made.masks == expected.masks.numpy()).mean() > 0.9999
    else:
        assert made.masks is None


@pytest.mark.parametrize('axis', [1, 2])
def test_masks_in_the_padding_only_are_empty(axis):
    sizes = ImageSizes((64, 96), (20, 20), (30, 40))
    mask = np.full((1, 16, 24), -5, np.float32)
    mask[(slice(None),) * axis + (slice(12, None),)] = 5
    number = np.zeros(1, np.int64)
    pairs = Pairs(np.ones(1, np.float32), number, np.zeros((1, 4), np.float32), number)
    made = make_instances(pairs, mask, sizes, keep_masks=True)
    assert made.scores.tolist() == [0] and not made.masks.any()


@pytest.mark.parametrize('sizes', SIZES)
def test_no_instances_are_no_problem(sizes):
    empty = np.zeros(0, np.float32)
    pairs = Pairs(empty, empty.astype(np.int64), empty.reshape(0, 4), empty.astype(np.int64))
    made = make_instances(pairs, smooth_masks(2, sizes).numpy(), sizes, keep_masks=True)
    assert made.masks.shape == (0, *sizes.output)
    queries = Competitors(empty, empty.astype(np.int64), np.zeros((0, 16, 24), np.float32))
    assert (make_panoptic(queries, sizes, 2, 4, 0.5) == 4).all()


@pytest.mark.parametrize('sizes', SIZES)
@pytest.mark.parametrize('overlap', [0.0, 0.3, 0.8])
def test_panoptic_maps_are_those_of_the_model(sizes, overlap):
    masks = smooth_masks(6, sizes)
    weights = torch.linspace(0.9, 0.5, 6)
    labels = torch.tensor([0, 2, 3, 2, 1, 0])
    pairs = postprocess.Pairs(weights, torch.arange(6), labels)
    segments = postprocess.merge_masks(pairs, masks, torch_sizes(sizes), 2**22, 2, overlap)
    values, things = [], 0
    for label in segments.labels:
        things += label < 2
        values.append(label + 1000 * things * (label < 2))
    expected = np.array([*values, 4])[segments.pixels.numpy()]
    made = make_panoptic(
        Competitors(weights.numpy(), labels.numpy(), masks.numpy()), sizes, 2, 4, overlap
    )
    assert (made == expected).mean() > 0.999
    assert set(np.unique(made)) == set(np.unique(expected))


@pytest.mark.parametrize('sizes', SIZES)
@pytest.mark.parametrize('max_pixels', [1, 5000, 2**22])
def test_semantic_maps_are_those_of_the_model_whatever_the_budget(sizes, max_pixels):
    masks = smooth_masks(6, sizes)
    classes = torch.rand(6, 4).softmax(-1)
    expected = postprocess.label_pixels(classes, masks, torch_sizes(sizes), 2**22).numpy()
    assert (
        make_semantic(classes.numpy(), masks.numpy(), sizes, max_pixels) == expected
    ).mean() > 0.999


@pytest.mark.parametrize('sizes', SIZES)
@pytest.mark.parametrize('max_pixels', [1, 2**22])
def test_scores_can_be_resized_after_voting(sizes, max_pixels):
    masks = smooth_masks(6, sizes).numpy()
    classes = torch.rand(6, 4).softmax(-1).numpy()
    whole = ImageSizes(sizes.padded, sizes.padded, sizes.padded)
    scores = score_pixels(classes, masks, whole)
    every = torch.from_numpy(scores(slice(0, sizes.padded[0]))).permute(2, 0, 1)[None]
    every = every[..., : sizes.resized[0], : sizes.resized[1]]
    expected = F.interpolate(every, sizes.output, mode='bilinear')[0].argmax(0).numpy()
    assert (resize_scores(scores, sizes, 4, max_pixels, False) == expected).mean() > 0.999


@pytest.mark.parametrize('size', [(64, 96), (50, 30), (64, 64), (200, 131)])
def test_windows_cover_every_pixel_and_are_averaged(size):
    from mask_dino.runtime.metadata import Window

    places = list(place_windows(size, Window((64, 64), (40, 48))))
    values = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    mean = average_windows(((place, values[place]) for place in places), size, 3)
    np.testing.assert_allclose(mean, values, atol=1e-6)
