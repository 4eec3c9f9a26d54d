"""A COCO file is split by image, with balanced classes."""

import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.coco_folder import coco_content

from mask_dino.datasets.split import choose_groups, split_content
from mask_dino.messages import DataError

TOOL = Path(__file__).parents[2] / 'tools/dataset_converters/split_coco.py'


def random_groups(rng: np.random.Generator, count: int) -> dict[str, list[int]]:
    """Return images with objects of frequent, rare and very rare classes; some images have none."""
    rates = [1.0, 0.5, 0.2, 4 / count, 2 / count]
    numbers = rng.poisson(rates, (count, len(rates)))
    return {
        f'{index}.jpg': [label for label, times in enumerate(row) for _ in range(times)]
        for index, row in enumerate(numbers)
    }


def parts_of(content: dict, **options: object) -> tuple[dict, dict]:
    return split_content(content, **dict(fraction=0.25, seed=0) | options)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('fraction', [0.1, 0.2, 0.5])
def test_every_class_is_divided_by_the_fraction(seed, fraction):
    groups = random_groups(np.random.default_rng(seed), 200)
    chosen = choose_groups(groups, fraction, seed)
    assert len(chosen) == round(200 * fraction)
    everywhere = Counter(label for labels in groups.values() for label in set(labels))
    held_out = Counter(label for name in chosen for label in set(groups[name]))
    for label, count in everywhere.items():
        assert abs(held_out[label] - count * fraction) <= max(2, 0.25 * count * fraction)
        assert count < 2 or 0 < held_out[label] < count


def test_every_image_is_in_one_part_together_with_its_annotations():
    content = coco_content(12)
    train, val = parts_of(content)
    images = [{image['id'] for image in part['images']} for part in (train, val)]
    assert [len(ids) for ids in images] == [9, 3]
    assert images[0] | images[1] == {image['id'] for image in content['images']}
    for part, ids in zip((train, val), images, strict=True):
        assert [a for a in content['annotations'] if a['image_id'] in ids] == part['annotations']
        assert part['categories'] == content['categories']


def test_the_seed_decides_and_the_order_of_the_file_does_not():
    content = coco_content(30)
    turned = content | dict(images=content['images'][::-1])

    def val_ids(content, seed):
        return sorted(image['id'] for image in parts_of(content, seed=seed)[1]['images'])

    assert val_ids(content, 3) == val_ids(turned, 3)
    assert val_ids(content, 3) != val_ids(content, 4)


def test_augmented_copies_of_an_image_stay_together():
    content = coco_content(12)
    for index, image in enumerate(content['images']):
        image['file_name'] = f'road{index // 3}_jpg.rf.{index:032x}.jpg'
    roads = [
        {image['file_name'].partition('_')[0] for image in part['images']}
        for part in parts_of(content)
    ]
    assert not roads[0] & roads[1]
    assert len(roads[1]) == 1
    with pytest.raises(DataError, match='12 images in 1 group cannot be split'):
        parts_of(content, group=r'(road).*')


def test_segments_of_panoptic_files_count_as_objects():
    content = coco_content(8)
    content['annotations'] = [
        dict(image_id=i, segments_info=[dict(category_id=1 + (i < 2))]) for i in range(8)
    ]
    train, val = parts_of(content)
    for part in (train, val):
        labels = [a['segments_info'][0]['category_id'] for a in part['annotations']]
        assert labels.count(2) == 1


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['split_coco.py', *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_the_command_writes_two_files_and_names_classes_without_validation(
    tmp_path, monkeypatch, capsys
):
    content = coco_content(10)
    content['annotations'] = [
        a for a in content['annotations'] if a['category_id'] == 1 or a['image_id'] == 0
    ]
    file = tmp_path / '_annotations.coco.json'
    file.write_text(json.dumps(content))
    run(monkeypatch, file, '--val', 0.3)
    said = capsys.readouterr().out
    sizes = [
        len(json.loads((tmp_path / f'annotations_{part}.json').read_text())['images'])
        for part in ('train', 'val')
    ]
    assert sizes == [7, 3]
    assert 'no object of dog in validation' in said


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--val', '2'], 'between 0 and 1'),
        (['--group', 'frame'], 'in parentheses'),
        (['--group', '(frame'], 'no regular expression'),
    ],
)
def test_wrong_arguments_are_named(arguments, message, tmp_path, monkeypatch, capsys):
    file = tmp_path / 'all.json'
    file.write_text(json.dumps(coco_content()))
    with pytest.raises(SystemExit):
        run(monkeypatch, file, *arguments)
    assert message in capsys.readouterr().err
