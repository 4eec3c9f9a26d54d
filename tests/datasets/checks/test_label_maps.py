"""Label maps that would ruin a training are named before it."""

import gzip
import re
import shutil
from logging import INFO, WARNING
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mask_dino.datasets.checks.evaluators import check_evaluator
from mask_dino.datasets.checks.label_maps import check_same_labels, read_codes
from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.messages import error_messages

SIZE = (20, 30)
META = dict(classes=('a', 'b', 'c'))


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ('images', 'maps'):
        (tmp_path / name).mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / f'images/{index}.jpg'), np.zeros((*SIZE, 3), np.uint8))
        cv2.imwrite(
            str(tmp_path / f'maps/{index}.png'), np.tile(np.array([0, 2, 255], np.uint8), (20, 10))
        )
    return tmp_path


def problems(folder: Path, num_classes: int = 3, **options: object) -> list[str]:
    return error_messages(findings(folder, num_classes, **options))


def findings(folder: Path, num_classes: int = 3, **options: object) -> list:
    init_default_scope('mmseg')
    options = dict(metainfo=META) | options
    prefix = dict(img_path='images', seg_map_path='maps')
    dataset = BaseSegDataset(data_root=str(folder), data_prefix=prefix, **options)
    head = type('Head', (), dict(num_classes=num_classes, num_things_classes=0))
    model = type('Model', (), dict(decode_head=head, auxiliary_head=head))
    return check_loaders(dict(train_dataloader=dataset), {}, model)


def test_good_maps_pass_palettes_included(folder):
    palette = Image.fromarray(np.ones(SIZE, np.uint8), mode='P')
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(folder / 'maps/1.png')
    assert problems(folder) == []


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (
            np.full(SIZE, 3, np.uint8),
            r'1\.png has the labels 3, which no class has.*reduce_zero_label',
        ),
        (np.full(SIZE, 300, np.uint16), r'1\.png has the labels 300'),
        (np.zeros((20, 29), np.uint8), r'1\.png is 29 x 20 pixels, its image .*1\.jpg 30 x 20'),
        (
            np.zeros((*SIZE, 3), np.uint8),
            r'1\.png is an image of colours, 3 channels.*index of the class',
        ),
    ],
)
def test_bad_maps_are_named(folder, values, message):
    cv2.imwrite(str(folder / 'maps/1.png'), values)
    (found,) = problems(folder)
    assert found.startswith('1 label map of 3')
    assert re.search(message, found)


def test_damaged_and_missing_maps_are_named(folder):
    path = folder / 'maps/2.png'
    path.write_bytes(path.read_bytes()[:50])
    assert '2.png is a PNG that was cut short' in problems(folder)[0]
    path.unlink()
    (found,) = problems(folder)
    assert '2.png' in found and 'missing' in found


@pytest.mark.parametrize(
    ('content', 'word'),
    [
        (b'', 'empty'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
        (b'<!DOCTYPE html>', 'is a web page'),
        (b'{"shapes": []}', 'is not an image'),
        (gzip.compress(b'map', mtime=0), 'is not an image'),
    ],
)
@pytest.mark.parametrize('place', ['images/2.jpg', 'maps/2.png'])
def test_files_of_other_kinds_are_named(folder, place, content, word):
    (folder / place).write_bytes(content)
    [found] = problems(folder)
    assert Path(place).name in found and word in found
    assert 'copy or download it again' in found


def test_damaged_images_are_named(folder):
    path = folder / 'images/2.jpg'
    good = path.read_bytes()
    for content, message in ((good[:300], 'was cut short'), (b'a web page', 'is not an image')):
        path.write_bytes(content)
        (found,) = problems(folder)
        assert found.startswith('1 image of 3') and '2.jpg' in found and message in found


def test_a_line_says_what_the_maps_hold(folder):
    (summary,), (absent,) = (
        [m for level, m in findings(folder) if level == wanted] for wanted in (INFO, WARNING)
    )
    assert (
        '3 images, 3 label maps looked at; 2 of 3 classes have pixels; 33.3% of the pixels are ignored'
        in summary
    )
    assert 'no pixel of b in 3 label maps' in absent


def test_maps_that_are_nearly_all_ignored_are_named(folder):
    ignored = np.full(SIZE, 255, np.uint8)
    cv2.imwrite(str(folder / 'maps/1.png'), ignored)
    messages = [message for level, message in findings(folder) if level == WARNING]
    assert any(
        'ignored in 1 label map of 3' in message and '1.png (100.0%)' in message
        for message in messages
    )
    for index in (0, 2):
        cv2.imwrite(str(folder / f'maps/{index}.png'), ignored)
    assert 'nothing to learn from' in problems(folder)[0]


def test_label_maps_without_an_image_are_named(folder):
    (folder / 'images/1.jpg').rename(folder / 'images/1.png')
    (folder / 'maps/deep').mkdir()
    shutil.copy(folder / 'maps/2.png', folder / 'maps/deep/2.png')
    messages = [finding.message for finding in findings(folder) if finding.level == WARNING]
    (unused,) = [message for message in messages if 'not used' in message]
    assert re.search(r"2 label maps of 4 .*1\.png.*deep/2\.png.*'\.jpg'.*img_suffix", unused)


def test_a_list_of_images_may_leave_label_maps_out(folder):
    (folder / 'train.txt').write_text('0\n2\n')
    found = findings(folder, ann_file='train.txt')
    assert not [finding for finding in found if 'not used' in finding.message]


def test_training_without_maps_is_refused(folder):
    init_default_scope('mmseg')
    dataset = BaseSegDataset(
        data_root=str(folder), data_prefix=dict(img_path='images'), metainfo=META
    )
    (message,) = error_messages(check_loaders(dict(train_dataloader=dataset), {}, None))
    assert 'seg_map_path' in message


def test_class_counts_must_agree(folder):
    (found,) = problems(folder, num_classes=19)
    for head in ('decode_head', 'auxiliary_head'):
        assert f'model.{head}.num_classes is 19' in found and f'{head}=dict(num_classes=3)' in found


def allowed(*arguments) -> set[int]:
    return set(read_codes(*arguments).classes)


def test_training_and_validation_read_labels_alike():
    init_default_scope('mmseg')
    data = [BaseSegDataset(lazy_init=True, reduce_zero_label=value) for value in (True, False)]
    loaders = ('train_dataloader', 'val_dataloader')
    [message] = error_messages(check_same_labels(dict(zip(loaders, data, strict=True))))
    assert 'train_dataloader: True, val_dataloader: False' in message
    assert check_same_labels(dict.fromkeys(loaders, data[0])) == []


def test_labels_may_be_what_mmseg_turns_into_classes():
    assert allowed(3, None, False, 255) == {0, 1, 2, 255}
    assert allowed(3, None, True, 255) == {0, 1, 2, 3, 255}
    # Classes 'b' and 'c' of a data set with four, of which the others are ignored.
    some_classes = {0: 255, 1: 0, 2: 1, 3: 255}
    assert allowed(2, some_classes, False, 255) == {0, 1, 2, 3, 255}
    assert allowed(2, some_classes, True, 255) == {0, 1, 2, 3, 4, 255}
    assert read_codes(2, some_classes, True, 255).classes[3] == 1


def test_masks_of_0_and_255_are_not_taken_for_classes(folder):
    for index in range(3):
        mask = np.tile(np.array([0, 255, 0], np.uint8), (20, 10))
        cv2.imwrite(str(folder / f'maps/{index}.png'), mask)
    [message] = problems(folder)
    assert 'class a and ignored pixels only' in message and '0 and 255' in message


def test_a_metric_of_label_maps_needs_a_pipeline_that_loads_them(folder):
    init_default_scope('mmseg')
    loading, annotations = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    packing = dict(type='PackSegInputs')
    prefix = dict(img_path='images', seg_map_path='maps')
    settings = dict(data_root=str(folder), data_prefix=prefix, metainfo=META, test_mode=True)
    metric = dict(type='IoUMetric', iou_metrics=['mIoU'])
    without = BaseSegDataset(pipeline=[loading, packing], **settings)
    (finding,) = check_evaluator('val_dataloader', without, metric, 'mmseg')
    assert 'val_evaluator: IoUMetric' in finding.message
    assert 'samples of val_dataloader have none' in finding.message
    sizes = [dict(type='Resize', scale_factor=factor, keep_ratio=True) for factor in (0.5, 1.0)]
    augmented = dict(type='TestTimeAug', transforms=[sizes, [annotations], [packing]])
    for rest in ([annotations, packing], [augmented]):
        complete = BaseSegDataset(pipeline=[loading, *rest], **settings)
        assert check_evaluator('val_dataloader', complete, metric, 'mmseg') == []
