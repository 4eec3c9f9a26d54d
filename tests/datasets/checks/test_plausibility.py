"""Faults of a whole COCO file are told, although each of its objects could be right."""

import pytest
from helpers.coco_folder import CLASSES, HEIGHT, WIDTH, coco_content

from mask_dino.datasets.checks.annotations import Usage
from mask_dino.datasets.checks.coco_file import check_coco
from mask_dino.messages import error_messages

TRAINING = Usage(with_masks=True, skips_masks=True, evaluation=False)
EVALUATION = TRAINING._replace(evaluation=True)


def check(content: dict, usage: Usage = TRAINING) -> tuple[list[str], list[str]]:
    """Return the messages of the errors, and all messages."""
    findings = check_coco(content, 'train.json', CLASSES, usage)
    return error_messages(findings), [finding.message for finding in findings]


def scale(annotation: dict, factor: float) -> None:
    annotation['bbox'] = [factor * value for value in annotation['bbox']]
    scale_mask(annotation, factor)


def scale_mask(annotation: dict, factor: float) -> None:
    polygons = annotation['segmentation']
    annotation['segmentation'] = [[factor * value for value in polygon] for polygon in polygons]


@pytest.mark.parametrize('usage', [TRAINING, EVALUATION])
@pytest.mark.parametrize(
    ('change', 'field'),
    [
        (lambda annotation: scale(annotation, 3), 'bbox'),
        (lambda annotation: scale(annotation, 1 / WIDTH), 'bbox'),
        (lambda annotation: scale_mask(annotation, 1 / WIDTH), 'segmentation'),
        (lambda annotation: annotation.update(bbox=[WIDTH + 5, 5, 9, 9]), 'bbox'),
    ],
)
def test_a_field_that_costs_most_objects_is_an_error(usage, change, field):
    content = coco_content()
    for annotation in content['annotations']:
        change(annotation)
    errors, _ = check(content, usage)
    assert any(f'{field} is unusable in 6 of 6 annotations' in message for message in errors)


def test_a_field_that_costs_few_objects_is_no_error():
    content = coco_content()
    for annotation in content['annotations'][:3]:
        scale(annotation, 1 / WIDTH)
    errors, messages = check(content)
    assert not errors
    assert any('side of less than one pixel in 3 annotations' in message for message in messages)


def test_annotations_of_images_that_the_file_lacks_may_be_many():
    """A split often has the annotations of all images."""
    content = coco_content(9)
    content['images'] = content['images'][:2]
    assert not check(content)[0]


def test_objects_that_are_annotated_twice_are_counted_with_examples():
    content = coco_content()
    copies = [annotation | dict(id=100 + annotation['id']) for annotation in content['annotations']]
    content['annotations'] += copies
    errors, messages = check(content)
    assert not errors
    [message] = [message for message in messages if 'of another one' in message]
    assert '6 annotations' in message and 'id 100 like id 0, id 101 like id 1' in message


def test_equal_boxes_of_two_objects_are_no_copies():
    content = coco_content()
    first = content['annotations'][0]
    half = [[8, 10, 32, 10, 32, 30]]
    content['annotations'] += [
        first | dict(id=100, segmentation=half),
        first | dict(id=101, category_id=2),
    ]
    assert not any('of another one' in message for message in check(content)[1])


@pytest.mark.parametrize('factor', [1 / (WIDTH * HEIGHT), 4])
def test_areas_in_other_units_are_told(factor):
    content = coco_content()
    for annotation in content['annotations']:
        annotation['area'] *= factor
    errors, messages = check(content)
    assert not errors
    assert any('area does not fit bbox in 6 of 6' in message for message in messages)


def test_a_file_in_order_has_no_findings():
    assert check(coco_content(), EVALUATION) == ([], [])


def test_one_image_under_two_spellings_of_its_path_is_found():
    content = coco_content()
    content['images'].append(content['images'][0] | dict(id=50, file_name='./0.jpg'))
    [message] = check(content)[0]
    assert '1 file_name of several images: 0.jpg' in message


def test_a_file_of_panoptic_annotations_is_named_as_such():
    content = coco_content()
    content['annotations'] = [dict(image_id=0, file_name='0.png', segments_info=[])]
    [message] = check(content)[0]
    assert 'panoptic' in message and 'CheckedCocoPanopticDataset' in message
