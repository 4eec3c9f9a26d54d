import numpy as np
import pytest

pytest.importorskip('onnxruntime')

from types import SimpleNamespace

from helpers.exported import PANOPTIC, SEMANTIC, read_config
from helpers.truth import perfect
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes
from mask_dino.export.evaluation import evaluate_file, open_model
from mask_dino.export.packages import ExportError
from mask_dino.runtime import Result

ALL = ('instance', 'panoptic', 'semantic')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(World(train=1, val=3, size=64, seed=3), folder)
    return folder


class FakeSegmenter:
    """Returns results that are given for each path of an image."""

    def __init__(self, classes, tasks, results):
        self.info = SimpleNamespace(classes=classes, tasks=tasks)
        self.results = results

    def __call__(self, path):
        return self.results[path]


def read_data_config(name, data):
    config = read_config(name)
    text = config.pretty_text.replace(config.data_root, f'{data}/')
    return Config.fromstring(text, '.py')


def panoptic_results(config):
    """Return the truth of each image as the runtime would return it."""
    init_default_scope('mmdet')
    dataset = DATASETS.build(config.test_dataloader.dataset)
    results = {}
    for index in range(len(dataset)):
        sample = perfect(dataset, index)
        instances = sample.pred_instances
        results[sample.img_path] = Result(
            image=np.zeros((*sample.ori_shape, 3), np.uint8),
            classes=dataset.metainfo['classes'],
            palette=(),
            boxes=instances.bboxes.numpy(),
            labels=instances.labels.numpy(),
            scores=instances.scores.numpy(),
            masks=instances.masks.numpy(),
            panoptic=sample.pred_panoptic_seg.sem_seg[0].numpy(),
            semantic=sample.pred_sem_seg.sem_seg[0].numpy(),
        )
    return dataset.metainfo['classes'], results


def test_perfect_results_have_perfect_figures(data, capsys):
    config = read_data_config(PANOPTIC, data)
    classes, results = panoptic_results(config)
    figures = evaluate_file(FakeSegmenter(classes, ALL, results), config)
    assert figures['coco_panoptic/PQ'] == figures['coco_semantic/mIoU'] == pytest.approx(100)
    assert figures['coco/bbox_mAP'] == figures['coco/segm_mAP'] == pytest.approx(1)
    assert 'StuffAPMetric is left out' in capsys.readouterr().out


def test_only_the_metrics_of_the_tasks_are_computed(data):
    config = read_data_config(PANOPTIC, data)
    classes, results = panoptic_results(config)
    figures = evaluate_file(FakeSegmenter(classes, ('panoptic',), results), config)
    assert {name.partition('/')[0] for name in figures} == {'coco_panoptic'}


def test_semantic_maps_are_compared_with_the_label_maps(data):
    config = read_data_config(SEMANTIC, data)
    classes = ('a',)
    results = {}
    for path in sorted((data / 'val').iterdir()):
        label_map = np.array(Image.open(data / 'semantic_val' / f'{path.stem}.png'))
        results[str(path)] = Result(np.zeros((1, 1, 3)), classes, (), semantic=label_map)
    init_default_scope('mmseg')
    known = DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True)).metainfo['classes']
    assert evaluate_file(FakeSegmenter(known, ('semantic',), results), config)['mIoU'] == 100
    with pytest.raises(ExportError, match='exported for the classes a, but'):
        evaluate_file(FakeSegmenter(classes, ('semantic',), results), config)


def test_files_of_unknown_formats_are_refused(tmp_path):
    with pytest.raises(ExportError, match=r'end in \.onnx, \.xml, \.pt2'):
        open_model(tmp_path / 'model.pth', None, 'f32')
    with pytest.raises(ExportError, match='only OpenVINO'):
        open_model(tmp_path / 'model.onnx', None, 'bf16')
