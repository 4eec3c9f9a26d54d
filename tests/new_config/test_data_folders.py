"""Annotation files, images and classes are found in the layouts that people have."""

import json
import re
from pathlib import Path

import pytest
from helpers.coco_folder import coco_content, write_coco

from mask_dino.messages import DataError
from mask_dino.new_config.folders import find_classes, find_splits, name_split

POTHOLES = Path(__file__).parents[3] / 'shared/potholes'


def lay_out(folder: Path, files: dict[str, str], content: dict | None = None) -> None:
    """Write the same data for every annotation file, with its images in the given folder."""
    content = content or coco_content()
    for ann_file, images in files.items():
        path = folder / ann_file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        (folder / images).mkdir(parents=True, exist_ok=True)
        for image in content['images']:
            (folder / images / image['file_name']).touch()


SPLIT_EXPORT = ('_annotations.coco.json', 'annotations_train.json', 'annotations_val.json')
LAYOUTS = {
    'COCO': {
        'annotations/instances_train2017.json': 'train2017',
        'annotations/instances_val2017.json': 'val2017',
    },
    'an annotation service': {
        'train/_annotations.coco.json': 'train',
        'valid/_annotations.coco.json': 'valid',
        'test/_annotations.coco.json': 'test',
    },
    'CVAT with subsets': {
        'annotations/instances_Train.json': 'images/Train',
        'annotations/instances_Validation.json': 'images/Validation',
    },
    'labelme, split': {'annotations_train.json': '', 'annotations_val.json': ''},
    'images in one folder': {'train.json': 'photos', 'val.json': 'photos'},
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_files_and_images_are_found(layout, tmp_path):
    lay_out(tmp_path, LAYOUTS[layout])
    splits = find_splits(tmp_path, panoptic=False)
    places = {split.ann_file: split.img_prefix.rstrip('/') for split in splits.values()}
    assert places == LAYOUTS[layout]
    assert [*splits] == ['train', 'val', 'test'][: len(splits)]


def test_file_names_with_folders_in_them_are_found(tmp_path):
    content = coco_content()
    for image in content['images']:
        image['file_name'] = f'JPEGImages/{image["file_name"]}'
    (tmp_path / 'out/JPEGImages').mkdir(parents=True)
    lay_out(tmp_path, {'out/train.json': 'out', 'out/val.json': 'out'}, content)
    assert find_splits(tmp_path, panoptic=False)['val'].img_prefix == 'out/'


def test_one_file_without_a_split_leads_to_the_command_that_splits_it(tmp_path):
    lay_out(tmp_path, {'annotations/instances_default.json': 'images'})
    command = re.escape(f'split_coco.py {tmp_path}/annotations/instances_default.json')
    with pytest.raises(DataError, match=command):
        find_splits(tmp_path, panoptic=False)


def test_a_file_that_was_split_gives_way_to_its_parts(tmp_path):
    lay_out(tmp_path, {f'train/{name}': 'train' for name in SPLIT_EXPORT})
    splits = find_splits(tmp_path, panoptic=False)
    assert splits['train'].ann_file == 'train/annotations_train.json'
    assert splits['val'].ann_file == 'train/annotations_val.json'


def test_other_json_files_do_not_disturb(tmp_path):
    lay_out(tmp_path, {'train.json': 'images', 'val.json': 'images'})
    (tmp_path / 'settings_train.json').write_text('{"images": 3}')
    (tmp_path / 'broken_val.json').write_text('{')
    assert find_splits(tmp_path, panoptic=False)['train'].ann_file == 'train.json'


@pytest.mark.parametrize(
    ('prepare', 'message'),
    [
        (lambda folder: None, 'found no JSON file in COCO instance format'),
        (lambda folder: lay_out(folder, {'a.json': '', 'b.json': ''}), 'no training and valid'),
        (
            lambda folder: lay_out(folder, {'train.json': '', 'x/train.json': ''}),
            'both named "train"',
        ),
        (
            lambda folder: (
                lay_out(folder, {'train.json': 'i', 'val.json': 'i'}),
                (folder / 'i/0.jpg').unlink(),
            ),
            'holds its files, for example 0.jpg',
        ),
    ],
)
def test_what_is_missing_is_named(prepare, message, tmp_path):
    prepare(tmp_path)
    with pytest.raises(DataError, match=message):
        find_splits(tmp_path, panoptic=False)


def test_a_test_part_serves_as_validation(tmp_path):
    lay_out(tmp_path, {'train.json': 'i', 'test.json': 'i'})
    splits = find_splits(tmp_path, panoptic=False)
    assert splits['val'] == splits['test']


@pytest.mark.parametrize(
    'placeholder',
    [dict(id=0, name='animals', supercategory='none'), dict(id=0, name='_background_')],
)
def test_a_placeholder_without_objects_is_no_class(placeholder, tmp_path):
    content = coco_content()
    content['categories'] = [
        placeholder,
        *(category | dict(supercategory='animals') for category in content['categories']),
    ]
    lay_out(tmp_path, {'train.json': 'i', 'val.json': 'i'}, content)
    classes = find_classes(find_splits(tmp_path, panoptic=False))
    assert classes.names == ('cat', 'dog')
    assert classes.left_out == (placeholder['name'],)
    content['annotations'][0]['category_id'] = 0
    lay_out(tmp_path, {'train.json': 'i'}, content)
    assert len(find_classes(find_splits(tmp_path, panoptic=False)).names) == 3


def test_a_class_without_objects_is_no_placeholder(tmp_path):
    content = coco_content()
    content['categories'].append(dict(id=9, name='owl', supercategory='animals'))
    lay_out(tmp_path, {'train.json': 'i', 'val.json': 'i'}, content)
    assert find_classes(find_splits(tmp_path, panoptic=False)).names == ('cat', 'dog', 'owl')


def test_different_categories_are_refused(tmp_path):
    write_coco(tmp_path, coco_content())
    other = coco_content()
    other['categories'][0]['name'] = 'lynx'
    write_coco(tmp_path, other, 'val.json')
    with pytest.raises(DataError, match='lynx'):
        find_classes(find_splits(tmp_path, panoptic=False))


def test_words_decide_on_the_split_and_not_parts_of_words():
    assert name_split(Path('valid/x.json')) == 'val'
    assert name_split(Path('train/instances_val.json')) == 'val'
    assert name_split(Path('instances_train_val.json')) == 'val'
    assert name_split(Path('trains/values.json')) is None


@pytest.mark.skipif(not POTHOLES.is_dir(), reason=f'{POTHOLES} is absent')
def test_a_real_export_is_read_as_it_comes():
    splits = find_splits(POTHOLES, panoptic=False)
    assert {name: len(split.content['images']) for name, split in splits.items()} == dict(
        train=80, val=5, test=5
    )
    assert find_classes(splits).names == ('pothole',)
