"""The files of Shapes agree with one another and with the readers they are meant for."""

import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmdet.evaluation import CocoMetric
from mmdet.utils import register_all_modules as register_mmdet
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmseg.utils import register_all_modules as register_mmseg
from pycocotools.coco import COCO

from mask_dino.datasets.shapes import CLASSES, PALETTE, THINGS, VOID, World
from mask_dino.datasets.shapes.outlines import Layer
from mask_dino.datasets.shapes.scene import Scene
from mask_dino.datasets.shapes.write import panoptic_map, run_lengths, semantic_map, write_shapes
from mask_dino.seg.data import ShapesDataset

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'
WORLD = World(train=120, val=4, size=64)
SPLITS = ('train', 'val')


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('data') / 'shapes'
    assert write_shapes(WORLD, path)
    return path


def panoptic(folder: Path, split: str) -> list[tuple[int, np.ndarray, list[dict]]]:
    """Image id, (H, W) segment ids and segments of every picture."""
    content = json.loads((folder / f'annotations/panoptic_{split}.json').read_text())
    names = {image['id']: Path(image['file_name']).stem for image in content['images']}
    found = []
    for annotation in content['annotations']:
        assert names[annotation['image_id']] == Path(annotation['file_name']).stem
        picture = cv2.imread(str(folder / f'panoptic_{split}' / annotation['file_name']))
        ids = picture[..., ::-1].astype(np.int64) @ (1, 256, 65536)
        found.append((annotation['image_id'], ids, annotation['segments_info']))
    assert len(found) == len(names)
    return found


def files(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob('*') if file.is_file()
    }


def test_equal_options_give_equal_files_and_another_seed_does_not(tmp_path):
    for name, seed in (('a', 5), ('b', 5), ('c', 6)):
        write_shapes(World(train=6, val=3, size=48, seed=seed), tmp_path / name)
    first, second, other = (files(tmp_path / name) for name in 'abc')
    assert first == second
    assert {name for name in first if first[name] != other[name]} >= {
        name for name in first if name.endswith('.jpg')
    }
    assert first['train/000001.jpg'] != first['val/000001.jpg']


def test_a_larger_set_begins_with_the_smaller_one(tmp_path):
    write_shapes(World(train=3, val=2, size=48), tmp_path / 'small')
    write_shapes(World(train=5, val=2, size=48), tmp_path / 'large')
    small, large = files(tmp_path / 'small'), files(tmp_path / 'large')
    assert all(large[name] == data for name, data in small.items() if not name.endswith('json'))
    for kind in ('instances', 'panoptic'):
        few, many = (json.loads(f[f'annotations/{kind}_train.json']) for f in (small, large))
        assert many['images'][:3] == few['images']
        assert many['annotations'][: len(few['annotations'])] == few['annotations']


@pytest.mark.parametrize('split', SPLITS)
def test_pictures_are_all_there(folder, split):
    count = getattr(WORLD, split)
    for name, suffix in (
        (split, 'jpg'),
        (f'panoptic_{split}', 'png'),
        (f'semantic_{split}', 'png'),
    ):
        names = [f'{i:06d}.{suffix}' for i in range(1, count + 1)]
        assert sorted(path.name for path in (folder / name).iterdir()) == names
        assert cv2.imread(str(folder / name / names[-1])).shape == (64, 64, 3)


@pytest.mark.parametrize('split', SPLITS)
def test_panoptic_maps_agree_with_their_segments(folder, split):
    for _, ids, segments in panoptic(folder, split):
        found, areas = np.unique(ids[ids > 0], return_counts=True)
        assert dict(zip(found.tolist(), areas.tolist(), strict=True)) == {
            s['id']: s['area'] for s in segments
        }
        for segment in segments:
            rows, cols = np.nonzero(ids == segment['id'])
            box = [cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1]
            assert segment['bbox'] == box


@pytest.mark.parametrize('split', SPLITS)
def test_semantic_maps_are_the_classes_of_the_segments(folder, split):
    for image_id, ids, segments in panoptic(folder, split):
        expected = np.full(ids.shape, VOID)
        for segment in segments:
            expected[ids == segment['id']] = segment['category_id'] - 1
        found = cv2.imread(
            str(folder / f'semantic_{split}/{image_id:06d}.png'), cv2.IMREAD_UNCHANGED
        )
        assert found.ndim == 2 and np.array_equal(found, expected)


@pytest.mark.parametrize('split', SPLITS)
def test_instances_are_the_things_of_the_panoptic_maps(folder, split):
    coco = COCO(folder / f'annotations/instances_{split}.json')
    assert len(set(coco.anns)) == len(coco.dataset['annotations'])
    for image_id, ids, segments in panoptic(folder, split):
        segments = [s for s in segments if s['category_id'] <= len(THINGS)]
        annotations = coco.imgToAnns[image_id]
        assert len(annotations) == len(segments)
        for annotation, segment in zip(annotations, segments, strict=True):
            assert np.array_equal(coco.annToMask(annotation), ids == segment['id'])
            for key in ('bbox', 'area', 'category_id', 'iscrowd'):
                assert annotation[key] == segment[key]


def test_masks_of_one_picture_are_disjoint(folder):
    coco = COCO(folder / 'annotations/instances_train.json')
    masks = defaultdict(list)
    for annotation in coco.anns.values():
        masks[annotation['image_id']].append(coco.annToMask(annotation))
    assert max(np.sum(found, axis=0).max() for found in masks.values()) == 1


def test_crowds_and_pictures_without_things_are_among_them(folder):
    coco = COCO(folder / 'annotations/instances_train.json')
    assert any(annotation['iscrowd'] for annotation in coco.anns.values())
    assert set(coco.imgs) - set(coco.imgToAnns)


def test_run_lengths_handle_empty_full_and_starting_with_one():
    assert run_lengths(np.zeros((2, 3), bool)) == {'counts': [6], 'size': [2, 3]}
    assert run_lengths(np.ones((2, 3), bool)) == {'counts': [0, 6], 'size': [2, 3]}
    assert run_lengths(np.array([[1, 0, 0], [1, 1, 0]], bool)) == {
        'counts': [0, 2, 1, 1, 2],
        'size': [2, 3],
    }


def test_void_is_marked_in_both_maps():
    owner = np.array([[0, VOID], [VOID, 1]], np.uint8)
    scene = Scene(np.zeros((2, 2, 3), np.uint8), owner, (Layer(6), Layer(2)))
    assert semantic_map(scene).tolist() == [[6, VOID], [VOID, 2]]
    assert np.array_equal(panoptic_map(scene).any(axis=2), owner != VOID)


def load(name: str, folder: Path) -> Config:
    config = Config.fromfile(CONFIGS / f'{name}.py')
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.data_root = str(folder)
    return config


def test_instance_config_loads_and_boxes_fit_the_masks(folder):
    register_mmdet(init_default_scope=False)
    config = load('shapes_instance', folder)
    with DefaultScope.overwrite_default_scope('mmdet'):
        train, val = (
            DATASETS.build(loader.dataset)
            for loader in (config.train_dataloader, config.val_dataloader)
        )
        samples = [train[index] for index in range(len(train))]
    assert isinstance(train, CocoDataset) and len(train) == WORLD.train and len(val) == WORLD.val
    assert any(len(sample['data_samples'].gt_instances) == 0 for sample in samples)
    for sample in samples:
        assert sample['inputs'].shape == (3, 128, 128)
        truth = sample['data_samples'].gt_instances
        assert (truth.masks.areas > 0).all()
        np.testing.assert_allclose(
            truth.masks.get_bboxes(type(truth.bboxes)).tensor, truth.bboxes.tensor, atol=1e-4
        )


def test_validation_resizes_like_training_and_perfect_results_score_one(folder):
    register_mmdet(init_default_scope=False)
    config = load('shapes_instance', folder)
    with DefaultScope.overwrite_default_scope('mmdet'):
        val = DATASETS.build(config.val_dataloader.dataset)
        metric = CocoMetric(folder / 'annotations/instances_val.json', config.val_evaluator.metric)
        metric.dataset_meta = val.metainfo
        for index in range(len(val)):
            sample = val[index]
            assert sample['inputs'].shape == (3, 128, 128)
            metric.process({}, [perfect(sample['data_samples'])])
        scores = metric.evaluate(len(val))
    assert scores['coco/bbox_mAP'] == scores['coco/segm_mAP'] == 1


def perfect(sample) -> dict:
    """The ground truth as if it had been predicted."""
    truth = sample.gt_instances
    found = {
        'bboxes': truth.bboxes.tensor,
        'labels': truth.labels,
        'scores': truth.labels * 0 + 1.0,
    }
    found['masks'] = truth.masks.to_tensor(bool, truth.labels.device)
    return sample.metainfo | {'pred_instances': found}


def test_semantic_config_loads(folder):
    register_mmseg(init_default_scope=False)
    config = load('shapes_semantic', folder)
    assert tuple(ShapesDataset.METAINFO['classes']) == CLASSES
    assert [tuple(colour) for colour in ShapesDataset.METAINFO['palette']] == list(PALETTE)
    with DefaultScope.overwrite_default_scope('mmseg'):
        train, val = (
            DATASETS.build(loader.dataset)
            for loader in (config.train_dataloader, config.val_dataloader)
        )
        samples = [val[index] for index in range(len(val))] + [train[0]]
    assert len(train) == WORLD.train and len(val) == WORLD.val
    for sample in samples:
        labels = sample['data_samples'].gt_sem_seg.data
        assert set(labels.unique().tolist()) <= {*range(len(CLASSES)), VOID}
        assert sample['inputs'].shape == (3, 128, 128)
    assert all(sample['data_samples'].gt_sem_seg.shape == (64, 64) for sample in samples[:-1]), (
        'maps keep their size'
    )
    assert samples[-1]['data_samples'].gt_sem_seg.shape == (128, 128)


def test_mmdet_reads_the_panoptic_files(folder):
    metainfo = {
        'classes': CLASSES,
        'thing_classes': THINGS,
        'stuff_classes': CLASSES[len(THINGS) :],
    }
    prefix = {'img': 'train/', 'seg': 'panoptic_train/'}
    data = CocoPanopticDataset('annotations/panoptic_train.json', metainfo, str(folder), prefix)
    assert len(data) == WORLD.train
    for index, (_, ids, segments) in enumerate(panoptic(folder, 'train')):
        info = data.get_data_info(index)
        assert Path(info['img_path']).is_file() and Path(info['seg_map_path']).is_file()
        assert {(s['id'], s['category']) for s in info['segments_info']} == {
            (s['id'], s['category_id'] - 1) for s in segments
        }
        things = sum(s['category_id'] <= len(THINGS) and not s['iscrowd'] for s in segments)
        assert len(info['instances']) == things and len(np.unique(ids)) >= len(segments)
