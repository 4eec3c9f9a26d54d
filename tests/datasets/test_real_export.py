"""A real export of an annotation service, whose ids all start at 0; skipped where its folder is absent."""

import copy
import json
from pathlib import Path

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import torch
from mmdet.registry import DATASETS, METRICS
from mmengine.structures import InstanceData

from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.datasets.coco import CheckedCocoDataset
from mask_dino.messages import error_messages

ROOT = Path(__file__).parents[3] / 'shared/potholes'
SPLITS = ('train', 'valid', 'test')
FILE = '_annotations.coco.json'
META = dict(classes=('pothole',))

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=f'{ROOT} is absent')


def build(split: str, **options: object) -> CheckedCocoDataset:
    """Return the data set of a split."""
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='PackDetInputs'),
    ]
    config = dict(
        data_root=str(ROOT), ann_file=f'{split}/{FILE}', data_prefix=dict(img=split), metainfo=META
    )
    return DATASETS.build(dict(type='CheckedCocoDataset', pipeline=pipeline, **config) | options)


def guess(image: dict, annotations: list[dict], generator: np.random.Generator) -> dict:
    """Return noisy ground truth as the prediction of an image, with an object that is not there."""
    height, width = image['height'], image['width']
    masks, scores = [np.zeros((height, width), bool)], [0.7]
    masks[0][:40, :40] = True
    for annotation in annotations:
        mask = coco_mask.decode(
            coco_mask.frPyObjects(annotation['segmentation'], height, width)
        ).any(2)
        masks.append(np.roll(mask, generator.integers(-12, 13, 2), (0, 1)))
        scores.append(generator.random())
    ends = [
        (*np.argwhere(mask).min(0)[::-1], *(np.argwhere(mask).max(0)[::-1] + 1)) for mask in masks
    ]
    instances = InstanceData(
        bboxes=torch.tensor(np.array(ends), dtype=torch.float32),
        masks=torch.from_numpy(np.stack(masks)),
        labels=torch.zeros(len(masks), dtype=torch.long),
        scores=torch.tensor(scores),
    )
    return dict(img_id=image['id'], ori_shape=(height, width), pred_instances=instances)


def evaluate(path: Path) -> dict[str, float]:
    """Return the figures of noisy ground truth of a file."""
    content = json.loads(path.read_text())
    metric = METRICS.build(
        dict(type='CompleteCocoMetric', ann_file=str(path), metric=['bbox', 'segm'])
    )
    metric.dataset_meta = META
    generator = np.random.default_rng(0)
    for image in content['images']:
        annotations = [a for a in content['annotations'] if a['image_id'] == image['id']]
        sample = guess(image, annotations, generator)
        sample['pred_instances'] = dict(sample['pred_instances'].items())
        metric.process({}, [sample])
    return metric.evaluate(len(content['images']))


def renumber(content: dict, shift: int) -> dict:
    """Add to all ids of images, categories and annotations."""
    content = copy.deepcopy(content)
    for entries in ('images', 'categories', 'annotations'):
        for entry in content[entries]:
            entry['id'] += shift
    for annotation in content['annotations']:
        annotation['image_id'] += shift
        annotation['category_id'] += shift
    return content


@pytest.mark.parametrize('split', SPLITS)
def test_the_check_finds_no_fault(split):
    dataset = build(split, test_mode=split != 'train')
    loader = f'{split}_dataloader'.replace('valid', 'val')
    evaluator = dict(type='CompleteCocoMetric', ann_file=str(ROOT / split / FILE))
    config = {loader.replace('dataloader', 'evaluator'): evaluator}
    findings = check_loaders({loader: dataset}, config, None, True)
    assert error_messages(findings) == []
    assert len(findings) == 1 and '0 crowds left out' in findings[0].message


@pytest.mark.parametrize('split', SPLITS)
def test_precision_does_not_depend_on_the_ids(tmp_path, split):
    path = ROOT / split / FILE
    content = json.loads(path.read_text())
    renumbered = tmp_path / 'renumbered.json'
    renumbered.write_text(json.dumps(renumber(content, 1)))
    expected = evaluate(renumbered)
    assert evaluate(path) == expected
    assert 0 < expected['coco/segm_mAP'] < 1


def test_a_placeholder_category_is_left_out_by_the_message(tmp_path):
    content = renumber(json.loads((ROOT / 'valid' / FILE).read_text()), 1)
    content['categories'][0]['supercategory'] = 'potholes-road'
    content['categories'].insert(0, dict(id=0, name='potholes-road', supercategory='none'))
    path = tmp_path / 'placeholder.json'
    path.write_text(json.dumps(content))
    dataset = build(
        'valid', ann_file=str(path), metainfo=dict(classes=('potholes-road', 'pothole'))
    )
    messages = [
        finding.message for finding in check_loaders(dict(train_dataloader=dataset), {}, None)
    ]
    assert any("Write metainfo=dict(classes=('pothole',))" in message for message in messages)
    right = build('valid', ann_file=str(path))
    assert error_messages(check_loaders(dict(train_dataloader=right), {}, None)) == []
    assert {
        instance['bbox_label']
        for info in map(right.get_data_info, range(5))
        for instance in info['instances']
    } == {0}
