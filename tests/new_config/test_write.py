"""A new config loads, its data pass every check, and its pipelines produce samples."""

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.coco_folder import coco_content, write_coco
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mask_dino.checkpoints.io import build_model, make_checkpoint, write_checkpoint
from mask_dino.checkpoints.select_config import read_configs
from mask_dino.datasets.checks.loaders import check_config
from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes
from mask_dino.image_size import find_unused_image_size
from mask_dino.messages import DataError, error_messages
from mask_dino.new_config.base import choose_base, find_task, read_network
from mask_dino.new_config.text import make_palette

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs/maskdino'
TOOL = ROOT / 'tools/misc/new_config.py'
TINY = {
    'instance': 'maskdino_tiny_shapes.py',
    'panoptic': 'maskdino_tiny_shapes-panoptic.py',
    'semantic': 'maskdino_tiny_shapes-semantic.py',
}


def write_instances(folder: Path) -> None:
    for part in ('train', 'val'):
        write_coco(folder, coco_content(), f'{part}.json')


def write_panoptic(folder: Path) -> None:
    """Write images that are half cat and half sky."""
    write_instances(folder)
    content = coco_content()
    pixels = np.zeros((64, 80, 3), np.uint8)
    pixels[:, :40, 2], pixels[:, 40:, 2] = 1, 2
    for part in ('train', 'val'):
        (folder / f'maps_{part}').mkdir()
        annotations = []
        for image in content['images']:
            name = f'{image["id"]}.png'
            cv2.imwrite(str(folder / f'maps_{part}' / name), pixels)
            segments = [
                dict(id=1, category_id=2, iscrowd=0, area=2560, bbox=[0, 0, 40, 64]),
                dict(id=2, category_id=1, iscrowd=0, area=2560, bbox=[40, 0, 40, 64]),
            ]
            annotations.append(dict(image_id=image['id'], file_name=name, segments_info=segments))
        categories = [dict(id=1, name='sky', isthing=0), dict(id=2, name='cat', isthing=1)]
        panoptic = dict(images=content['images'], annotations=annotations, categories=categories)
        (folder / f'panoptic_{part}.json').write_text(json.dumps(panoptic))


def write_maps(folder: Path, count: int = 3, suffix: str = '.png') -> None:
    """Write images and label maps of three classes."""
    rng = np.random.default_rng(0)
    for part in ('train', 'val'):
        for kind in ('images', 'labels'):
            (folder / kind / part).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (64, 80, 3), np.uint8)
            cv2.imwrite(str(folder / f'images/{part}/{index}.jpg'), image)
            pixels = rng.integers(0, 3, (64, 80)).astype(np.uint8)
            cv2.imwrite(str(folder / f'labels/{part}/{index}{suffix}'), pixels)


WRITE = {'instance': write_instances, 'panoptic': write_panoptic, 'semantic': write_maps}


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['new_config.py', *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


@pytest.mark.parametrize('task', TINY)
def test_a_new_config_loads_and_its_data_pass_every_check(task, tmp_path, monkeypatch, capsys):
    data, out = tmp_path / 'data', tmp_path / 'configs/new.py'
    WRITE[task](data)
    run(monkeypatch, '--data', data, '--task', task, '--base', CONFIGS / TINY[task], '--out', out)
    assert f'tools/train.py {out}' in capsys.readouterr().out
    config = Config.fromfile(out)
    assert find_unused_image_size(config) is None
    init_default_scope(config.default_scope)
    assert error_messages(check_config(config, decode=True)) == []
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = DATASETS.build(config[loader].dataset)
        assert len(dataset) == 3
        assert dataset[0]['inputs'].shape[0] == 3
    model = build_model(config)
    names = config.metainfo.classes
    head = model.decode_head if task == 'semantic' else model.panoptic_head
    assert head.num_classes == len(names) == len(config.metainfo.palette)
    init_default_scope('mmdet')


def test_things_come_before_stuff_whatever_the_order_of_the_file(tmp_path, monkeypatch):
    write_panoptic(tmp_path)
    out = tmp_path / 'new.py'
    base = CONFIGS / TINY['panoptic']
    run(monkeypatch, '--data', tmp_path, '--task', 'panoptic', '--base', base, '--out', out)
    assert Config.fromfile(out).metainfo.classes == ('cat', 'sky')


def test_names_of_labels_come_from_the_argument_or_from_a_file(tmp_path, monkeypatch, capsys):
    write_maps(tmp_path, suffix='_mask.png')
    out = tmp_path / 'new.py'
    arguments = ['--data', tmp_path, '--task', 'semantic', '--base', CONFIGS / TINY['semantic']]
    arguments += ['--out', out, '--force']
    run(monkeypatch, *arguments)
    assert Config.fromfile(out).classes == ('class_0', 'class_1', 'class_2')
    assert 'have no names' in capsys.readouterr().out
    (tmp_path / 'classes.txt').write_text('road\nsky\ntree\n')
    run(monkeypatch, *arguments)
    assert Config.fromfile(out).classes == ('road', 'sky', 'tree')
    run(monkeypatch, *arguments, '--classes', 'a,b,c,d')
    assert Config.fromfile(out).classes == ('a', 'b', 'c', 'd')
    with pytest.raises(SystemExit, match=r'2 classes, but the maps hold the labels 0, 1, 2'):
        run(monkeypatch, *arguments, '--classes', 'a,b')


@pytest.mark.parametrize('all_maps', [True, False])
def test_label_maps_with_colours_are_refused(all_maps, tmp_path, monkeypatch):
    write_maps(tmp_path)
    for path in (tmp_path / 'labels/train').iterdir():
        if path.stem != '0' or all_maps:
            cv2.imwrite(str(path), np.zeros((64, 80, 3), np.uint8))
    base = CONFIGS / TINY['semantic']
    with pytest.raises(SystemExit, match='has colours'):
        run(monkeypatch, '--data', tmp_path, '--task', 'semantic', '--base', base)


def test_label_maps_are_found_among_other_maps_of_equal_names(tmp_path, monkeypatch):
    write_shapes(World(train=2, val=2, size=64), tmp_path / 'shapes')
    out = tmp_path / 'new.py'
    base = CONFIGS / TINY['semantic']
    data = tmp_path / 'shapes'
    run(monkeypatch, '--data', data, '--task', 'semantic', '--base', base, '--out', out)
    config = Config.fromfile(out)
    assert config.train_dataloader.dataset.data_prefix == dict(
        img_path='train', seg_map_path='semantic_train'
    )
    for task, file in (('instance', 'instances_val.json'), ('panoptic', 'panoptic_val.json')):
        base = CONFIGS / TINY[task]
        run(monkeypatch, '--data', data, '--task', task, '--base', base, '--out', out, '--force')
        config = Config.fromfile(out)
        assert config.val_dataloader.dataset.ann_file == f'annotations/{file}'


def test_an_existing_config_is_not_replaced(tmp_path, monkeypatch, capsys):
    write_instances(tmp_path)
    out = tmp_path / 'new.py'
    out.write_text('mine')
    with pytest.raises(SystemExit):
        run(monkeypatch, '--data', tmp_path, '--base', CONFIGS / TINY['instance'], '--out', out)
    assert out.read_text() == 'mine'
    assert '--force' in capsys.readouterr().err


def test_a_checkpoint_decides_on_the_network(tmp_path, monkeypatch):
    config = Config.fromfile(CONFIGS / TINY['panoptic'])
    checkpoint = tmp_path / 'demo.pth'
    weights = {'weight': torch.zeros(1)}
    write_checkpoint(make_checkpoint(config, weights, checkpoint), checkpoint)
    write_instances(tmp_path / 'data')
    out = tmp_path / 'new.py'
    run(monkeypatch, '--data', tmp_path / 'data', '--from', checkpoint, '--out', out)
    new = Config.fromfile(out)
    assert new.load_from == str(checkpoint)
    assert new.model.panoptic_head.embed_dims == 64


@pytest.fixture(scope='module')
def configs() -> dict[Path, Config]:
    return read_configs(CONFIGS)


def test_every_config_leads_to_an_equal_network_of_its_task(configs):
    for path, config in configs.items():
        task = find_task(config)
        if task in TINY:
            base = configs[choose_base(config, task, configs)]
            assert find_task(base) == task
            assert read_network(base) == read_network(config), path


def test_a_checkpoint_of_one_task_starts_another(configs):
    for task, name in TINY.items():
        for other in TINY.values():
            assert choose_base(configs[CONFIGS / other], task, configs).name == name


def test_an_unknown_backbone_is_named(configs):
    config = Config(configs[CONFIGS / TINY['instance']].to_dict())
    config.model.backbone.type = 'Unheard'
    with pytest.raises(DataError, match=r'Unheard.*--base'):
        choose_base(config, 'instance', configs)


def test_colours_of_classes_differ():
    palette = np.array(make_palette(40))
    distances = np.abs(palette[:, None] - palette[None]).sum(-1) + 999 * np.eye(40)
    assert distances.min() > 10
    assert palette.min() >= 0
    assert palette.max() <= 255
