"""Panoptic data from the config to the figures: the truth is perfect, a model trains and tests, all in one run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers.tiny import tiny_config
from helpers.truth import perfect
from mmdet.apis import DetInferencer
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import mask_dino.det  # noqa: F401  registers data sets and metrics
from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes

ROOT = Path(__file__).parents[1]
SAMPLE = Path(os.environ.get('COCO_SAMPLE', ROOT.parent / 'shared/coco_sample'))
VAL = 5
PERFECT = {
    'coco_panoptic/PQ': 100,
    'coco_panoptic/PQ_th': 100,
    'coco_panoptic/PQ_st': 100,
    'coco_semantic/mIoU': 100,
    'coco/bbox_mAP': 1,
    'coco/segm_mAP': 1,
    'coco_stuff/segm_mAP': 1,
}


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(World(train=8, val=VAL, size=96, seed=3), folder)
    return folder


def read_config(name: str, root: Path) -> Config:
    """Return a data config whose data lie in another folder."""
    config = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    text = config.pretty_text.replace(config.data_root, f'{root}/')
    return Config.fromstring(text, '.py')


def perfect_results(config: Config) -> dict[str, float]:
    init_default_scope('mmdet')
    dataset = DATASETS.build(config.val_dataloader.dataset)
    evaluator = Evaluator(config.val_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        evaluator.process([perfect(dataset, index)])
    return evaluator.evaluate(len(dataset))


def test_the_truth_of_shapes_is_perfect(shapes):
    results = perfect_results(read_config('shapes_panoptic', shapes))
    assert {key: results[key] for key in PERFECT} == pytest.approx(PERFECT)


@pytest.mark.skipif(
    not SAMPLE.is_dir(), reason=f'{SAMPLE} is not there; COCO_SAMPLE names another folder'
)
def test_the_truth_of_coco_is_perfect():
    config = read_config('coco_panoptic_lsj', SAMPLE)
    text = config.pretty_text
    for name, place in {
        'annotations/panoptic_val2017/': 'panoptic/',
        'annotations/panoptic_val2017.json': 'panoptic.json',
        'annotations/instances_val2017.json': 'instances.json',
        'val2017/': 'images/',
    }.items():
        text = text.replace(name, place)
    results = perfect_results(Config.fromstring(text, '.py'))
    assert {key: results[key] for key in PERFECT} == pytest.approx(PERFECT)


def evaluate_part(rank: int, folder: str, root: str) -> None:
    """Evaluate every second image, the first of them once more to fill up, as the sampler of two processes does."""
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    init_default_scope('mmdet')
    config = read_config('shapes_panoptic', Path(root))
    dataset = DATASETS.build(config.val_dataloader.dataset)
    evaluator = Evaluator(config.val_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    indices = [*range(VAL), 0] if VAL % 2 else range(VAL)
    for index in indices[rank::2]:
        evaluator.process([damaged(dataset, index)])
    results = evaluator.evaluate(len(dataset))
    if rank == 0:
        (Path(folder) / 'results.json').write_text(json.dumps(results))
    dist.destroy_process_group()


def damaged(dataset, index: int):
    """Return a prediction that is neither right nor wrong."""
    sample = perfect(dataset, index)
    for data in (sample.pred_panoptic_seg, sample.pred_sem_seg):
        data.sem_seg = data.sem_seg.roll(index % 5, -1)
    return sample


def test_two_processes_report_what_one_does(shapes, tmp_path):
    config = read_config('shapes_panoptic', shapes)
    dataset = DATASETS.build(config.val_dataloader.dataset)
    evaluator = Evaluator(config.val_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    for index in range(VAL):
        evaluator.process([damaged(dataset, index)])
    expected = evaluator.evaluate(VAL)
    mp.spawn(evaluate_part, args=(str(tmp_path), str(shapes)), nprocs=2)
    assert json.loads((tmp_path / 'results.json').read_text()) == pytest.approx(expected)
    assert 0 < expected['coco_panoptic/PQ'] < 100


@pytest.fixture(scope='module')
def config(shapes, tmp_path_factory) -> Config:
    """A small panoptic model on the panoptic data, as a config would combine them."""
    model = tiny_config(
        num_stuff_classes=3,
        queries=dict(boxes_from_masks=False),
        criterion=dict(decouple_stuff=True),
    )
    model.data_preprocessor.update(pad_seg=True, seg_pad_value=255)
    model.panoptic_fusion_head.num_stuff_classes = 3
    # An untrained model is sure of nothing.
    model.test_cfg.update(
        panoptic_on=True, semantic_on=True, stuff_on=True, object_mask_thr=0.0, iou_thr=0.0
    )
    config = read_config('shapes_panoptic', shapes)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    config.train_dataloader.batch_size = 2
    config.merge_from_dict(Config.fromfile(ROOT / 'configs/_base_/default_runtime.py').to_dict())
    work = tmp_path_factory.mktemp('work')
    config.update(
        model=model,
        custom_imports=dict(imports=['mask_dino.det']),
        work_dir=str(work),
        experiment_name='panoptic_run',
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2),
        val_cfg=dict(),
        test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-4)),
    )
    config.default_hooks.visualization.update(draw=True, test_out_dir=str(work / 'drawn'))
    config.dump(work / 'config.py')
    return config


@pytest.fixture(scope='module')
def runner(config) -> Runner:
    init_default_scope('mmdet')
    torch.manual_seed(0)
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def results(runner) -> dict[str, float]:
    return runner.test()


def test_one_test_reports_all_figures(runner, results):
    assert set(PERFECT) <= set(results)
    assert results['coco_semantic/mIoU'] > 0
    assert runner.iter == 2


def test_pictures_of_a_test_show_everything(results, config):
    drawn = sorted(Path(config.work_dir, 'drawn').glob('*.jpg'))
    assert [path.name for path in drawn] == [f'{i:06d}.jpg' for i in range(1, VAL + 1)]
    assert cv2.imread(str(drawn[0])).shape == (96, 4 * 96, 3)


def test_mmdets_inferencer_writes_panoptic_results(runner, config, shapes, tmp_path):
    work = Path(config.work_dir)
    inferencer = DetInferencer(
        str(work / 'config.py'), str(work / 'iter_2.pth'), device='cpu', show_progress=False
    )
    image = str(shapes / 'val/000001.jpg')
    found = inferencer(image, out_dir=str(tmp_path), no_save_pred=False)['predictions'][0]
    written = cv2.imread(found['panoptic_seg_path'])
    in_memory = inferencer(image, return_vis=True)
    assert (written[..., ::-1] == in_memory['predictions'][0]['panoptic_seg']).all()
    assert (tmp_path / 'preds/000001.json').is_file()
    assert in_memory['visualization'][0].shape == (96, 3 * 96, 3)
    (sample,) = inferencer(image, return_datasamples=True)['predictions']
    ids = written.astype(int) @ [65536, 256, 1]
    values = sample.pred_panoptic_seg.sem_seg[0].numpy()
    assert (ids == values * (values % 1000 != 8)).all()


def test_results_for_a_test_server_need_no_other_metric(runner, config, tmp_path):
    ann_file = config.val_evaluator[0].ann_file
    metric = dict(
        type='PanopticQualityMetric',
        ann_file=ann_file,
        format_only=True,
        outfile_prefix=f'{tmp_path}/test',
    )
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = runner.test_dataloader.dataset.metainfo
    with torch.no_grad():
        for batch in runner.test_dataloader:
            evaluator.process(runner.model.test_step(batch))
    assert evaluator.evaluate(VAL) == {}
    assert len(json.loads((tmp_path / 'test.panoptic.json').read_text())['annotations']) == VAL
    assert len(list((tmp_path / 'test.panoptic').glob('*.png'))) == VAL


def test_the_file_of_a_training_is_enough_for_mmdets_inferencer(runner, config, shapes):
    """In a process that has not imported Mask DINO: the config in the file does."""
    image, weights = shapes / 'val/000001.jpg', Path(config.work_dir) / 'iter_2.pth'
    code = f"""
from mmdet.apis import DetInferencer
inferencer = DetInferencer(weights={str(weights)!r}, device='cpu', show_progress=False)
print(type(inferencer.model).__name__, len(inferencer({str(image)!r})['predictions']))
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ['MaskDINO 1'], done.stderr[-3000:]
