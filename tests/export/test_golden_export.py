"""Exported files give the numbers of the original, for all reference cases; minutes each."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

import torch
from helpers import golden
from helpers.reference import CASES, CONFIGS, DATA, Image, align, build
from mmengine.config import Config

from mask_dino.export.exporter import Options, export_model
from mask_dino.export.model import TrainedModel, fill_palette, find_head
from mask_dino.runtime import OnnxNetwork, Segmenter
from mask_dino.runtime.images import Prepared, make_batch, padded_size

pytestmark = pytest.mark.slow

NAMES = ['r50_instance', 'r50_panoptic', 'r50_ade20k', 'swinl_instance']


def trained_model(name, case):
    """Return the model of a case as the exporter loads it."""
    config = Config.fromfile(CONFIGS / CASES[name])
    model = build(name)
    if case['panoptic_on']:
        config.model.test_cfg.iou_thr = case['overlap_threshold']
    head = find_head(model, config)
    classes = tuple(f'class {index}' for index in range(head.num_classes))
    return TrainedModel(model, head, config, classes, fill_palette(None, head.num_classes))


def export_case(name, folder, raw):
    """Return a case's first image, its reference arrays and its exported file."""
    case, reference = golden.load_case(DATA / name)
    image = Image(**case['images'][0])
    file = folder / f'{name}.onnx'
    export_model(trained_model(name, case), file, Options(raw=raw, size=(256, 320)))
    return SimpleNamespace(image=image, reference=reference, file=file)


@pytest.mark.parametrize('name', NAMES)
def test_raw_files_have_the_arrays_of_the_original(name, tmp_path):
    case = export_case(name, tmp_path, raw=True)
    network = OnnxNetwork(case.file)
    pixels = golden.image(case.image.seed, case.image.height, case.image.width)
    rule = network.info.input
    size = padded_size([pixels.shape[:2]], rule.padding)
    outputs = network.run(make_batch([pixels], rule, size))
    ours = np.concatenate((outputs['logits'][0], outputs['boxes'][0]), -1)
    reference = case.reference
    theirs = np.concatenate((reference['pred_logits'][0], reference['pred_boxes'][0]), -1)
    order = align(torch.from_numpy(ours), torch.from_numpy(theirs))
    np.testing.assert_allclose(ours[order], theirs, atol=1e-3, rtol=0)
    masks = outputs['masks'][0, order][::10]
    np.testing.assert_allclose(masks, reference['pred_masks_every10th'][0], atol=1e-3, rtol=1e-3)
    report(name, np.abs(ours[order] - theirs).max())


@pytest.mark.parametrize('name', NAMES)
def test_results_of_files_are_the_results_of_the_original(name, tmp_path):
    case = export_case(name, tmp_path, raw=False)
    segmenter = Segmenter(case.file)
    image, reference = case.image, case.reference
    pixels = golden.image(image.seed, image.height, image.width)
    output = np.zeros((image.out_height, image.out_width, 3), np.uint8)  # results have its size
    result = next(segmenter._run_batch([Prepared(output, pixels)]))
    if result.scores is not None:
        check_instances(result, reference)
    if result.semantic is not None:
        share = (result.semantic == reference['0_sem_argmax']).mean()
        report(name, share)
        assert share >= 0.999
    if result.panoptic is not None:
        check_panoptic(result, reference)


def check_instances(result, reference):
    """Compare the best pairs, of which those with equal scores can have either order."""
    count = len(reference['0_inst_scores'])
    assert len(result.scores) == count
    ours = pairs(result.boxes, result.labels, result.scores)
    theirs = pairs(*(reference[f'0_inst_{name}'] for name in ('boxes', 'labels', 'scores')))
    order = align(ours, theirs)
    np.testing.assert_array_equal(result.labels[order], reference['0_inst_labels'])
    np.testing.assert_allclose(result.scores[order], reference['0_inst_scores'], atol=1e-3)
    np.testing.assert_allclose(result.boxes[order], reference['0_inst_boxes'], atol=0.1)
    areas = result.masks[order].sum((1, 2))
    np.testing.assert_allclose(areas, reference['0_inst_mask_area'], rtol=1e-3, atol=2)


def pairs(boxes, labels, scores):
    columns = np.concatenate((boxes, 1000 * labels[:, None], 1000 * scores[:, None]), 1)
    return torch.from_numpy(columns).float()


def check_panoptic(result, reference):
    """Compare the pixels of each segment of the original with the segment that covers most of it."""
    segments = reference['0_pan_seg']
    expected = np.full(segments.shape, len(result.classes))
    for number, label, _ in reference['0_pan_info']:
        pixels = segments == number
        values, counts = np.unique(result.panoptic[pixels], return_counts=True)
        value = values[counts.argmax()]
        assert value % 1000 == label
        expected[pixels] = value
    share = (result.panoptic == expected).mean()
    report('panoptic', share)
    assert share >= 0.999


def report(name, value):
    """Print a figure; ``pytest -s`` shows it."""
    print(f'{name}: {value:.6g}')
