"""Every kind of damage to panoptic annotations is found and named before the first step."""

import json
import logging
import re
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.panoptic_folder import (
    CLASSES,
    META,
    Picture,
    build_dataset,
    dataset_config,
    panoptic_content,
    segment_id,
    truth_files,
    write_panoptic,
)

from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.datasets.panoptic_png import write_ids
from mask_dino.messages import DataError, error_messages

HEAD = SimpleNamespace(num_things_classes=3, num_stuff_classes=2)
MODEL = SimpleNamespace(panoptic_head=HEAD, panoptic_fusion_head=HEAD)
PIXELS = np.arange(4)[None].repeat(24, 0).repeat(8, 1)
PICTURES = [Picture(np.roll(PIXELS, 8 * i, 1), [i, 3, 4], [i == 1, False, False]) for i in range(3)]


def check(dataset, model=MODEL, decode=False, **config) -> list:
    return check_loaders(dict(train_dataloader=dataset), config, model, decode)


def errors_of(folder, content: dict, **options) -> str:
    """Return what a data set or its check says of a file."""
    write_panoptic(folder, PICTURES, content)
    try:
        return '\n'.join(error_messages(check(build_dataset(folder, **options))))
    except DataError as reason:
        return str(reason)


def test_one_line_on_good_data(tmp_path):
    write_panoptic(tmp_path, PICTURES)
    found = check(build_dataset(tmp_path))
    assert [level for level, _ in found] == [logging.INFO, logging.WARNING]
    # The dog is a crowd, and hence nothing to learn from.
    assert '3 images, 0 of them without objects; 8 objects of 4 of 5 classes' in found[0].message
    assert 'dog' in found[1].message


def first(content: dict) -> dict:
    return content['annotations'][0]


def segment(content: dict) -> dict:
    return first(content)['segments_info'][1]


DAMAGES = {
    'no annotations': (lambda c: c.pop('annotations'), "no list 'annotations'"),
    'no categories': (lambda c: c.pop('categories'), "no list 'categories'"),
    'no isthing': (
        lambda c: c['categories'][1].pop('isthing'),
        'categories without isthing: dog.*Write 1',
    ),
    'odd isthing': (
        lambda c: c['categories'][1].update(isthing='yes'),
        'categories without isthing: dog',
    ),
    'other isthing': (
        lambda c: c['categories'][3].update(isthing=1),
        'isthing differs .* for sky.*metainfo',
    ),
    'unknown name': (lambda c: c['categories'][2].update(name='Owl'), "no category called 'owl'"),
    'no file_name': (lambda c: first(c).pop('file_name'), 'without file_name.*id 100'),
    'no segments_info': (lambda c: first(c).pop('segments_info'), 'without segments_info.*id 100'),
    'no annotation of an image': (
        lambda c: c['annotations'].pop(),
        'images without annotation: 2.jpg',
    ),
    'annotation of no image': (lambda c: first(c).update(image_id=5), 'image_id 5.*Remove'),
    'two annotations of an image': (
        lambda c: c['annotations'].append(first(c)),
        'more than one annotation .* id 100',
    ),
    'shared PNG': (lambda c: first(c).update(file_name='map1.png'), 'share the PNG map1.png'),
    'repeated image': (
        lambda c: c['images'].append(c['images'][0]),
        '1 id of images missing or used more than once',
    ),
    'no size': (lambda c: c['images'][0].pop('width'), 'width and height as whole numbers'),
    'segment no object': (
        lambda c: first(c)['segments_info'].append(3),
        'an entry that is no object',
    ),
    'repeated id': (
        lambda c: segment(c).update(id=segment_id(1)),
        f'same id.*id {segment_id(1)} on map0.png',
    ),
    'id no number': (
        lambda c: segment(c).update(id='7'),
        'id is not a whole number.*id 7 on map0.png',
    ),
    'id of void': (lambda c: segment(c).update(id=0), 'id is not a whole number from 1'),
    'id too large': (lambda c: segment(c).update(id=2**24), 'id is not a whole number from 1'),
    'unknown category': (
        lambda c: segment(c).update(category_id=1),
        f'category_id .* {segment_id(2)} on map0.png',
    ),
    'odd iscrowd': (lambda c: segment(c).update(iscrowd='no'), 'iscrowd is neither 0 nor 1'),
    'no bbox': (lambda c: segment(c).pop('bbox'), 'bbox is missing'),
    'bbox no numbers': (
        lambda c: segment(c).update(bbox=[1, 2, None, 4]),
        'bbox .*x, y, width, height',
    ),
}


@pytest.mark.parametrize('name', DAMAGES)
def test_damage_to_the_file_is_named(tmp_path, name):
    damage, words = DAMAGES[name]
    content = panoptic_content(PICTURES)
    damage(content)
    message = errors_of(tmp_path, content)
    assert 'panoptic.json' in message
    assert re.search(words, message), message


def test_a_file_in_any_order_of_classes_is_read_by_names(tmp_path):
    content = panoptic_content(PICTURES)
    content['categories'].reverse()
    assert errors_of(tmp_path, content) == ''
    labels = [item['data_samples'].gt_instances.labels.tolist() for item in build_dataset(tmp_path)]
    assert labels == [[0], [], [2]]


def test_classes_of_the_config_must_be_things_then_stuff(tmp_path):
    write_panoptic(tmp_path, PICTURES)
    mixed = META | dict(classes=CLASSES[::-1])
    (message,) = error_messages(check(build_dataset(tmp_path, metainfo=mixed)))[:1]
    assert "thing_classes=('cat', 'dog', 'owl'), stuff_classes=('sky', 'sea')" in message


def test_counts_of_the_model_must_be_those_of_the_data(tmp_path):
    write_panoptic(tmp_path, PICTURES)
    head = SimpleNamespace(num_things_classes=3, num_stuff_classes=53)
    (message,) = error_messages(check(build_dataset(tmp_path), SimpleNamespace(panoptic_head=head)))
    assert 'panoptic_head.num_stuff_classes is 53' in message and 'num_stuff_classes=2' in message


def test_training_needs_maps(tmp_path):
    write_panoptic(tmp_path, PICTURES)
    (message,) = error_messages(check(build_dataset(tmp_path, data_prefix=dict(img='images/'))))
    assert 'seg=' in message


def test_a_missing_map_is_named(tmp_path):
    write_panoptic(tmp_path, PICTURES)
    (tmp_path / 'maps/map1.png').unlink()
    (message,) = error_messages(check(build_dataset(tmp_path)))
    assert 'maps' in message and 'map1.png' in message


def test_maps_that_do_not_fit_are_named_those_of_mmdets_data_set_too(tmp_path):
    write_panoptic(tmp_path, PICTURES)
    write_ids(tmp_path / 'maps/map1.png', np.full((24, 32), 5))
    (message,) = error_messages(check(build_dataset(tmp_path)))
    assert '1 panoptic map of 3 looked at' in message and 'map1.png has 1 segment id' in message


def test_a_few_maps_of_many_are_read_and_all_on_demand(tmp_path, monkeypatch):
    monkeypatch.setattr('mask_dino.datasets.panoptic.MAPS', 2)
    write_panoptic(tmp_path, PICTURES)
    write_ids(tmp_path / 'maps/map1.png', np.full((24, 32), 5))
    assert error_messages(check(build_dataset(tmp_path))) == []
    assert 'map1.png' in error_messages(check(build_dataset(tmp_path), decode=True))[0]


def test_a_test_set_without_annotations_passes(tmp_path):
    content = panoptic_content(PICTURES)
    del content['annotations']
    assert errors_of(tmp_path, content, test_mode=True) == ''


@pytest.mark.parametrize(
    'metric', ['PanopticQualityMetric', 'PanopticIoUMetric', 'StuffAPMetric', 'ThingAPMetric']
)
def test_evaluators_must_know_the_images(tmp_path, metric):
    write_panoptic(tmp_path, PICTURES)
    other = tmp_path / 'other.json'
    other.write_text(json.dumps(panoptic_content(PICTURES[:1])))
    dataset = build_dataset(tmp_path, test_mode=True)
    options = dict(metric=['segm']) if 'AP' in metric else {}
    good = dict(type=metric, **truth_files(tmp_path), **options)
    assert error_messages(check(dataset, train_evaluator=[good])) == []
    (message,) = error_messages(
        check(dataset, train_evaluator=[good, good | dict(ann_file=str(other))])
    )
    assert 'other.json' in message and 'lacks 2 images' in message


def test_evaluators_must_find_the_maps(tmp_path):
    write_panoptic(tmp_path, PICTURES)
    metric = dict(
        type='PanopticIoUMetric',
        **truth_files(tmp_path) | dict(seg_prefix=str(tmp_path / 'elsewhere')),
    )
    (message,) = error_messages(
        check(build_dataset(tmp_path, test_mode=True), train_evaluator=metric)
    )
    assert 'train_evaluator.seg_prefix: ' in message and 'elsewhere does not exist' in message


def test_the_command_serves_panoptic_configs(tmp_path, capsys):
    write_panoptic(tmp_path, PICTURES)
    config = tmp_path / 'config.py'
    loader = dict(batch_size=1, dataset=dataset_config(tmp_path))
    config.write_text(
        f"custom_imports = dict(imports=['mask_dino.det'])\ntrain_dataloader = {loader}\n"
    )
    assert 'info: train_dataloader: 3 images' in command(capsys, 0, str(config))
    (tmp_path / 'maps/map2.png').write_bytes(b'x')
    assert 'error: 1 panoptic map' in command(capsys, 1, str(config), '--images')


def command(capsys, status: int, *arguments: str) -> str:
    """Run the command and return what it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['check_dataset.py', *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path('tools/misc/check_dataset.py', run_name='__main__')
    assert end.value.code == status
    return capsys.readouterr().out


def test_areas_that_are_not_the_number_of_pixels_are_named(tmp_path):
    content = panoptic_content(PICTURES)
    first(content)['segments_info'][0]['area'] += 1
    message = errors_of(tmp_path, content)
    assert '1 panoptic map of 3 looked at' in message
    assert 'area in segments_info is not the number of pixels' in message
    for entry in content['annotations']:
        for segment in entry['segments_info']:
            segment.pop('area')
    assert errors_of(tmp_path, content) == ''
