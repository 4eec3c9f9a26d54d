"""Every defect of an object is reported with its file, field, place and remedy, and with what becomes of it."""

import logging
import math
import re

import pytest
from helpers.coco_folder import HEIGHT, WIDTH, coco_content

from mask_dino.datasets.checks.annotations import Usage
from mask_dino.datasets.checks.coco_file import EXAMPLES, check_annotations, check_structure

TRAINING = Usage(with_masks=True, skips_masks=True, evaluation=False)
EVALUATION = Usage(with_masks=True, skips_masks=True, evaluation=True)
BOXES_ALONE = Usage(with_masks=False, skips_masks=True, evaluation=False)
STOCK = Usage(with_masks=True, skips_masks=False, evaluation=False)
GONE = object()


def levels(field: str, value: object, usage: Usage) -> list[int]:
    """Damage the second object and return the levels of what is found."""
    content = coco_content()
    annotation = content['annotations'][1]
    annotation[field] = value
    if value is GONE:
        del annotation[field]
    findings = check_annotations(content, 'train.json', usage)
    for _, message in findings:
        assert (
            message.startswith(f'train.json: {field} ')
            and 'id 1 on ' in message
            and re.search('Write|Correct', message)
        )
    return [finding.level for finding in findings]


def test_nothing_is_found_in_good_objects():
    for usage in (TRAINING, EVALUATION, BOXES_ALONE, STOCK):
        assert check_annotations(coco_content(), 'train.json', usage) == []


@pytest.mark.parametrize(
    ('field', 'value', 'training', 'evaluation'),
    [
        ('category_id', 7, 'error', 'error'),
        ('bbox', GONE, 'error', 'error'),
        ('bbox', None, 'error', 'error'),
        ('bbox', [1, 2, 3], 'error', 'error'),
        ('bbox', ['1', '2', '3', '4'], 'error', 'error'),
        ('bbox', [1, 2, math.nan, 4], 'error', 'error'),
        ('bbox', [5, 5, 0, 10], 'warning', 'warning'),
        ('bbox', [5, 5, 10, -10], 'warning', 'warning'),
        ('bbox', [0.1, 0.1, 0.5, 0.5], 'warning', 'warning'),
        ('bbox', [WIDTH, 5, 10, 10], 'warning', 'warning'),
        ('bbox', [5, -10, 10, 10], 'warning', 'warning'),
        ('bbox', [40, 40, 60, 60], 'warning', 'warning'),
        ('bbox', [-0.5, -0.5, WIDTH + 1, HEIGHT + 1], None, None),
        ('area', GONE, 'error', 'error'),
        ('area', '12', 'error', 'error'),
        ('area', 0, 'warning', None),
        ('iscrowd', GONE, None, 'error'),
        ('segmentation', GONE, 'warning', 'error'),
        ('segmentation', [], 'warning', 'error'),
        ('segmentation', [[]], 'warning', 'error'),
        ('segmentation', [[1, 1, 5, 5]], 'warning', 'error'),
        ('segmentation', dict(size=[HEIGHT, WIDTH], counts=[7]), 'warning', 'error'),
        ('segmentation', [[1, 1, 5, 1, 9, 1]], 'warning', 'warning'),
        ('ignore', 1, 'warning', 'warning'),
        ('iscrowd', None, 'warning', 'error'),
        ('iscrowd', '0', 'error', 'error'),
        ('iscrowd', 2, 'error', 'error'),
        ('iscrowd', False, None, None),
        ('category_id', '1', 'error', 'error'),
        ('category_id', [1], 'error', 'error'),
        ('image_id', '0', 'error', 'error'),
        ('segmentation', [[1, 1, 20, 20, 10, 10]], 'warning', 'warning'),
        ('segmentation', [[1, 1, 1e9, 1, 5, 5]], 'warning', 'error'),
        ('segmentation', dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH]), 'warning', 'warning'),
    ],
)
def test_defects_and_what_becomes_of_them(field, value, training, evaluation):
    numbers = {None: [], 'warning': [logging.WARNING], 'error': [logging.ERROR]}
    assert levels(field, value, TRAINING) == numbers[training]
    assert levels(field, value, EVALUATION) == numbers[evaluation]


def test_an_object_of_no_image_is_reported():
    content = coco_content()
    content['annotations'][1]['image_id'] = 99
    ((level, message),) = check_annotations(content, 'train.json', TRAINING)
    assert (
        level == logging.WARNING
        and 'image_id' in message
        and '99' in message
        and 'skipped' in message
    )
    ((level, message),) = check_annotations(content, 'val.json', EVALUATION)
    assert level == logging.WARNING and 'left out of the evaluation' in message


def test_many_crowds_are_reported_and_only_crowds_are_an_error():
    content = coco_content(num_images=10)
    for count, level in ((2, None), (3, logging.WARNING), (20, logging.ERROR)):
        for annotation in content['annotations'][:count]:
            annotation['iscrowd'] = 1
        findings = check_annotations(content, 'train.json', TRAINING)
        assert [finding.level for finding in findings] == ([] if level is None else [level])
        assert all(f'iscrowd is 1 in {count} of 20' in message for _, message in findings)


def test_masks_count_where_they_are_read_and_stop_a_data_set_that_cannot_skip_them():
    assert levels('segmentation', [], BOXES_ALONE) == []
    assert levels('segmentation', [], STOCK) == [logging.ERROR]
    content = coco_content()
    content['annotations'][0]['segmentation'] = []
    assert 'CheckedCocoDataset' in check_annotations(content, 'train.json', STOCK)[0].message


def test_a_defect_is_reported_once_with_its_number_and_a_few_examples():
    content = coco_content(num_images=10)
    for annotation in content['annotations'][::2]:
        annotation['bbox'] = [0, 0, 0, 0]
    ((_, message),) = check_annotations(content, 'train.json', TRAINING)
    assert '10 annotations' in message and message.count('.jpg') == EXAMPLES


@pytest.mark.parametrize(
    'content', [None, [], {}, 'text', dict(images=[], annotations=[])], ids=str
)
def test_what_is_no_coco_file_is_called_so(content):
    ((level, message),) = check_structure(content, 'train.json')
    assert level == logging.ERROR and message.startswith('train.json') and 'COCO' in message


@pytest.mark.parametrize(
    ('entries', 'field', 'value'),
    [
        ('images', 'id', GONE),
        ('images', 'width', GONE),
        ('images', 'height', 0),
        ('images', 'width', '80'),
        ('images', 'width', 80.5),
        ('images', 'id', [1]),
        ('images', 'file_name', 'https://example.com/1.jpg'),
        ('images', 'file_name', '1.jpg'),
        ('images', 'file_name', GONE),
        ('images', 'id', 1),
        ('annotations', 'id', 1),
        ('categories', 'id', 2),
        ('categories', 'name', GONE),
    ],
)
def test_missing_fields_and_repeated_ids_are_reported(entries, field, value):
    content = coco_content()
    assert check_structure(content, 'train.json') == []
    content[entries][0][field] = value
    if value is GONE:
        del content[entries][0][field]
    findings = check_structure(content, 'train.json')
    assert findings and all(level == logging.ERROR for level, _ in findings)
    assert all('train.json' in message and entries[:5] in message for _, message in findings)
