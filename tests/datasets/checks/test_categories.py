"""Classes of config, file and model are compared, and every message shows the line to write."""

import logging
from types import SimpleNamespace

import pytest
from helpers.coco_folder import coco_content

from mask_dino.datasets.checks.categories import check_categories, check_heads, check_same_classes


def only(findings: list) -> str:
    ((level, message),) = findings
    assert level == logging.ERROR
    return message


def test_equal_classes_are_fine():
    assert check_categories(coco_content(), 'train.json', ('cat', 'dog')) == []
    assert check_categories(coco_content(), 'train.json', ['cat', 'dog']) == []


@pytest.mark.parametrize(
    'classes', [('Cat', 'Dog'), ('cat', 'Dog'), ('cat', 'dog', 'bird'), ('dog', 'cat'), 'cat']
)
def test_a_mismatch_shows_the_fix(classes):
    message = only(check_categories(coco_content(), 'train.json', classes))
    fix = "classes=('cat',)" if classes == 'cat' else "classes=('cat', 'dog')"
    assert fix in message
    assert (
        set(classes) <= {'cat', 'dog'}
        or classes == 'cat'
        or all(name in message for name in (*classes, 'cat', 'dog'))
    )


def test_classes_left_out_on_purpose_are_counted():
    ((level, message),) = check_categories(coco_content(), 'train.json', ('dog',))
    assert level == logging.WARNING and 'cat (3)' in message
    content = coco_content()
    content['categories'].append(dict(id=0, name='animals'))
    assert check_categories(content, 'train.json', ('cat', 'dog')) == []


def test_a_name_given_twice_is_refused():
    assert 'metainfo' in only(check_categories(coco_content(), 'train.json', ('cat', 'dog', 'dog')))
    content = coco_content()
    content['categories'].append(dict(id=3, name='dog'))
    message = only(check_categories(content, 'train.json', ('cat', 'dog')))
    assert 'train.json' in message and 'dog' in message


def test_a_placeholder_of_an_annotation_service_is_no_class():
    content = coco_content()
    content['categories'].insert(0, dict(id=0, name='animals', supercategory='none'))
    for category in content['categories'][1:]:
        category['supercategory'] = 'animals'
    assert check_categories(content, 'train.json', ('cat', 'dog')) == []
    ((level, message),) = check_categories(content, 'train.json', ('animals', 'cat', 'dog'))
    assert (
        level == logging.WARNING
        and 'animals groups other' in message
        and "classes=('cat', 'dog')" in message
    )
    assert "classes=('cat', 'dog')" in only(check_categories(content, 'train.json', ('person',)))
    content['categories'][0]['name'] = 'dog'
    assert 'remove the one without annotations: id 0' in only(
        check_categories(content, 'train.json', ('cat', 'dog'))
    )


def heads(things: int, stuff: int = 0, fusion: int | None = None) -> dict:
    counts = dict(panoptic_head=things, panoptic_fusion_head=things if fusion is None else fusion)
    return {
        k: SimpleNamespace(num_things_classes=n, num_stuff_classes=stuff) for k, n in counts.items()
    }


def test_class_counts_of_the_heads():
    classes = dict(classes=('cat', 'dog'))
    assert check_heads(heads(2), classes) == check_heads(heads(2, stuff=5), classes) == []
    assert (
        check_heads({}, classes)
        == check_heads(dict(decode_head=SimpleNamespace(num_classes=2)), classes)
        == []
    )
    message = only(
        check_heads(dict(decode_head=SimpleNamespace(num_classes=7, num_things_classes=0)), classes)
    )
    assert 'decode_head=dict(num_classes=2)' in message
    for wrong in (heads(80), heads(2, fusion=80), heads(80, fusion=2)):
        message = only(check_heads(wrong, classes))
        assert (
            'panoptic_head=dict(num_things_classes=2), panoptic_fusion_head=dict(num_things_classes=2)'
            in message
        )


def test_stuff_counts_where_the_data_have_stuff():
    panoptic = dict(
        classes=('cat', 'sky', 'sea'), thing_classes=('cat',), stuff_classes=('sky', 'sea')
    )
    assert check_heads(heads(1, 2), panoptic) == []
    message = only(check_heads(heads(1, 0), panoptic))
    assert 'num_stuff_classes=2' in message and 'sky, sea' in message and 'cat' not in message


def test_data_sets_must_have_the_same_classes():
    first, second = dict(classes=('cat', 'dog')), dict(classes=['cat', 'dog'])
    assert check_same_classes(dict(train_dataloader=first, val_dataloader=second)) == []
    message = only(
        check_same_classes(
            dict(train_dataloader=first, val_dataloader=dict(classes=('cat', 'cow')))
        )
    )
    assert 'train_dataloader: cat, dog' in message and 'val_dataloader: cat, cow' in message
