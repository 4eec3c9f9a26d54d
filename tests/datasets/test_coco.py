"""The data set survives unusable objects, and every other failure names the file."""

import gc

import cv2
import numpy as np
import pycocotools.mask as coco_mask
import pytest
from helpers.coco_folder import HEIGHT, PIPELINE, WIDTH, build_dataset, coco_content, write_coco

from mask_dino.datasets.checks.json_file import read_coco
from mask_dino.datasets.checks.loaders import check_loaders
from mask_dino.datasets.coco import comparing_all_masks
from mask_dino.messages import DataError

SMALL = coco_mask.encode(np.zeros((8, 8), np.uint8, order='F'))['counts'].decode()
UNUSABLE = [
    None,
    [],
    [[]],
    [[1, 1, 5, 5]],
    [1, 1, 5, 1, 5, 5],
    [[float('nan'), 1, 5, 1, 5, 5]],
    [[1, 1, 9, 1, 5, 1]],
    dict(size=[8, 8], counts=SMALL),
    dict(size=[HEIGHT, WIDTH], counts=SMALL),
    dict(size=[HEIGHT, WIDTH], counts=[3, 4]),
    dict(size=[HEIGHT, WIDTH], counts=None),
]


def labels(dataset) -> list[list[int]]:
    return [sample['data_samples'].gt_instances.labels.tolist() for sample in dataset]


@pytest.mark.parametrize('segmentation', UNUSABLE, ids=str)
def test_objects_without_a_usable_mask_are_skipped_alone(tmp_path, segmentation):
    content = coco_content()
    content['annotations'][0]['segmentation'] = segmentation
    write_coco(tmp_path, content)
    assert labels(build_dataset(tmp_path)) == [[1], [0, 1], [0, 1]]


def test_unusable_polygons_leave_the_others(tmp_path):
    content = coco_content()
    square = content['annotations'][0]['segmentation'][0]
    write_coco(tmp_path, content)
    expected = build_dataset(tmp_path).get_data_info(0)
    content['annotations'][0]['segmentation'] = [[1, 1], square, [[1, 1], [5, 1], [5, 5]]]
    write_coco(tmp_path, content)
    assert build_dataset(tmp_path).get_data_info(0) == expected


def test_masks_do_not_matter_where_boxes_alone_are_read(tmp_path):
    content = coco_content()
    for annotation in content['annotations']:
        del annotation['segmentation']
    write_coco(tmp_path, content)
    pipeline = [PIPELINE[0], dict(type='LoadAnnotations', with_bbox=True), PIPELINE[-1]]
    assert labels(build_dataset(tmp_path, pipeline=pipeline)) == [[0, 1]] * 3


def test_sound_data_are_read_as_by_mmdet(tmp_path):
    write_coco(tmp_path, coco_content())
    ours, stock = build_dataset(tmp_path), build_dataset(tmp_path, type='CocoDataset')
    assert [ours.get_data_info(i) for i in range(3)] == [stock.get_data_info(i) for i in range(3)]


def test_a_file_is_read_once_by_the_data_set_and_its_check(tmp_path, monkeypatch):
    content = coco_content()
    content['annotations'][0]['iscrowd'] = None
    write_coco(tmp_path, content)
    paths: list[str] = []

    def read(path: str, backend_args: dict | None) -> object:
        paths.append(path)
        return read_coco(path, backend_args)

    monkeypatch.setattr('mask_dino.datasets.coco.read_coco', read)
    dataset = build_dataset(tmp_path)
    messages = [
        finding.message for finding in check_loaders(dict(train_dataloader=dataset), {}, None)
    ]
    assert any('iscrowd is null' in message for message in messages)
    assert paths == [str(tmp_path / 'train.json')]
    assert gc.isenabled()


def test_all_masks_are_compared_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr('mask_dino.datasets.checks.mask_fit.MASKS', 2)
    content = coco_content()
    content['annotations'][1]['segmentation'] = [[40, 40, 60, 40, 60, 60, 40, 60]]
    write_coco(tmp_path, content)
    assert build_dataset(tmp_path).findings == []
    with comparing_all_masks():
        [finding] = build_dataset(tmp_path).findings
    assert 'segmentation does not fit bbox in 1 annotation of 6 looked at' in finding.message


@pytest.mark.parametrize('field', ['bbox', 'area'])
def test_a_file_that_mmdet_cannot_read_is_explained(tmp_path, field):
    content = coco_content()
    del content['annotations'][0][field]
    write_coco(tmp_path, content)
    with pytest.raises(DataError, match=f'train.json: {field} .*id 0 on 0.jpg'):
        build_dataset(tmp_path)


def test_classes_that_leave_no_image_are_explained(tmp_path):
    write_coco(tmp_path, coco_content())
    options = dict(metainfo=dict(classes=('Cat', 'Dog')), filter_cfg=dict(filter_empty_gt=True))
    with pytest.raises(DataError, match=r"train.json .*classes=\('cat', 'dog'\)"):
        build_dataset(tmp_path, **options)


def test_a_file_that_is_missing_or_no_json_is_called_so(tmp_path):
    write_coco(tmp_path, coco_content())
    (tmp_path / 'train.json').write_text('{"images": [')
    with pytest.raises(DataError, match=r'train\.json is not a JSON file'):
        build_dataset(tmp_path)
    (tmp_path / 'train.json').unlink()
    with pytest.raises(DataError, match=r'train\.json does not exist.*ann_file'):
        build_dataset(tmp_path)


@pytest.mark.parametrize(
    ('damage', 'word'),
    [
        (lambda path: path.unlink(), 'does not exist'),
        (lambda path: path.write_bytes(b''), 'is empty'),
        (lambda path: path.write_bytes(path.read_bytes()[:-500]), 'cut short'),
        (lambda path: path.write_text('<html>'), 'not an image'),
        (
            lambda path: cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH + 8, 3), np.uint8)),
            f'{WIDTH + 8} x {HEIGHT}',
        ),
    ],
    ids=['missing', 'empty', 'truncated', 'no image', 'size'],
)
@pytest.mark.parametrize('test_mode', [False, True])
def test_a_damaged_image_stops_the_run_by_its_name(tmp_path, damage, word, test_mode):
    write_coco(tmp_path, coco_content())
    dataset = build_dataset(tmp_path, test_mode=test_mode)
    damage(tmp_path / 'images/1.jpg')
    assert dataset[0] and dataset[2]
    with pytest.raises(DataError, match=word) as failure:
        dataset[1]
    assert str(tmp_path / 'images/1.jpg') in str(failure.value)


def test_a_failing_transform_is_reported_with_the_image(tmp_path):
    write_coco(tmp_path, coco_content())
    dataset = build_dataset(tmp_path, pipeline=[*PIPELINE[:2], lambda results: results['absent']])
    with pytest.raises(DataError, match=r"1.jpg: KeyError: 'absent'"):
        dataset[1]


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_grey_images_load_as_three_equal_channels(tmp_path, suffix):
    content = coco_content()
    content['images'][0]['file_name'] = f'grey{suffix}'
    write_coco(tmp_path, content)
    cv2.imwrite(
        str(tmp_path / f'images/grey{suffix}'), np.random.randint(0, 256, (HEIGHT, WIDTH), np.uint8)
    )
    channels = build_dataset(tmp_path)[0]['inputs']
    assert channels.shape == (3, HEIGHT, WIDTH) and channels.float().std() > 1
    assert (channels == channels[:1]).all()
