"""Panoptic maps reach the model as things and stuff, without crowds and void."""

import cv2
import numpy as np
import pytest
import torch
from helpers.panoptic_folder import (
    THINGS,
    Picture,
    build_dataset,
    panoptic_content,
    random_picture,
    segment_id,
    write_panoptic,
)

from mask_dino.datasets.panoptic_png import IDS, id2rgb, read_ids, write_ids
from mask_dino.messages import DataError

VOID = 255


@pytest.fixture
def pictures() -> list[Picture]:
    rng = np.random.default_rng(0)
    return [random_picture(rng, int(rng.integers(1, 9))) for _ in range(12)]


def test_things_are_objects_and_all_else_is_in_the_map(tmp_path, pictures):
    write_panoptic(tmp_path, pictures)
    assert any(any(picture.crowds) for picture in pictures)
    for picture, item in zip(pictures, build_dataset(tmp_path), strict=True):
        sample = item['data_samples']
        truth = sample.gt_instances
        wanted = [
            (label, number)
            for number, (label, crowd) in enumerate(
                zip(picture.labels, picture.crowds, strict=True), start=1
            )
            if label < len(THINGS) and not crowd
        ]
        assert truth.labels.tolist() == [label for label, _ in wanted]
        for (_, number), mask, box in zip(
            wanted, truth.masks.masks, truth.bboxes.tensor, strict=True
        ):
            assert (mask == (picture.pixels == number)).all()
            ys, xs = mask.nonzero()
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        shown = [
            VOID if crowd else label
            for label, crowd in zip(picture.labels, picture.crowds, strict=True)
        ]
        assert (
            sample.gt_sem_seg.sem_seg[0].numpy() == np.array([VOID, *shown])[picture.pixels]
        ).all()


def test_classes_that_a_config_leaves_out_are_void_and_change_no_other(tmp_path, pictures):
    write_panoptic(tmp_path, pictures)
    fewer = dict(classes=('dog', 'sea'), thing_classes=('dog',), stuff_classes=('sea',))
    for whole, part in zip(
        build_dataset(tmp_path), build_dataset(tmp_path, metainfo=fewer), strict=True
    ):
        whole, part = whole['data_samples'], part['data_samples']
        dogs = (whole.gt_instances.labels == 1).numpy()
        assert (part.gt_instances.masks.masks == whole.gt_instances.masks.masks[dogs]).all()
        assert (part.gt_instances.labels == 0).all()
        expected = torch.full((256,), VOID)
        expected[1], expected[4] = 0, 1
        assert (part.gt_sem_seg.sem_seg == expected[whole.gt_sem_seg.sem_seg.long()]).all()


def test_crowds_are_no_target_in_training(tmp_path):
    from helpers.tiny import build

    from mask_dino.det.detector import to_targets

    pixels = np.repeat(np.arange(5), 8)[None].repeat(
        16, 0
    )  # void, cat, crowd of cats, sea, crowd of sky
    write_panoptic(tmp_path, [Picture(pixels, [0, 0, 4, 3], [False, True, False, True])])
    sample = build_dataset(tmp_path)[0]['data_samples']
    sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor
    head = build(
        num_things_classes=3, num_stuff_classes=2, queries=dict(boxes_from_masks=False)
    ).panoptic_head
    targets = to_targets(sample, torch.Size((16, 40)), head)
    assert targets.labels.tolist() == [0, 4]
    assert [mask.nonzero()[:, 1].unique().tolist() for mask in targets.masks] == [
        [*range(8, 16)],
        [*range(24, 32)],
    ]


def test_augmentation_keeps_things_and_map_together(tmp_path, pictures):
    write_panoptic(tmp_path, pictures)
    augment = [
        dict(type='RandomFlip', prob=1.0),
        dict(
            type='RandomResize',
            scale=(64, 48),
            ratio_range=(0.5, 2.0),
            resize_type='Resize',
            keep_ratio=True,
        ),
        dict(type='RandomCrop', crop_size=(40, 40), recompute_bbox=True, allow_negative_crop=True),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), by_mask=True, keep_empty=False),
        dict(type='Pad', size=(40, 40), pad_val=dict(img=(0, 0, 0), masks=0, seg=VOID)),
    ]
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadCocoPanopticAnnotations'),
        *augment,
        dict(type='PackDetInputs'),
    ]
    for item in build_dataset(tmp_path, pipeline=pipeline):
        sample = item['data_samples']
        classes = sample.gt_sem_seg.sem_seg[0].numpy()
        assert classes.shape == (40, 40)
        for mask, label in zip(
            sample.gt_instances.masks.masks, sample.gt_instances.labels, strict=True
        ):
            assert (classes[mask.astype(bool)] == int(label)).all()


def test_images_without_map_pass_in_a_test(tmp_path, pictures):
    content = panoptic_content(pictures)
    del content['annotations']
    write_panoptic(tmp_path, pictures, content)
    dataset = build_dataset(tmp_path, test_mode=True, data_prefix=dict(img='images/'))
    assert len(dataset) == len(pictures)
    assert 'gt_sem_seg' not in dataset[0]['data_samples']


def test_ids_survive_the_file(tmp_path):
    ids = np.random.default_rng(0).integers(IDS, size=(9, 7))
    write_ids(tmp_path / 'deep/map.png', ids)
    assert (read_ids(str(tmp_path / 'deep/map.png')) == ids).all()
    assert (id2rgb(ids) @ np.array([1, 256, 65536]) == ids).all()
    assert [path.name for path in (tmp_path / 'deep').iterdir()] == ['map.png']


def test_the_files_of_shapes_are_read_as_they_were_drawn(tmp_path):
    from mask_dino.datasets.shapes import CLASSES as SHAPES
    from mask_dino.datasets.shapes import STUFF, World
    from mask_dino.datasets.shapes import THINGS as SHAPE_THINGS
    from mask_dino.datasets.shapes.write import write_shapes

    write_shapes(World(train=0, val=30, size=48), tmp_path / 'shapes')
    options = dict(
        ann_file='annotations/panoptic_val.json', data_prefix=dict(img='val/', seg='panoptic_val/')
    )
    meta = dict(classes=SHAPES, thing_classes=SHAPE_THINGS, stuff_classes=STUFF)
    crowds = 0
    for i, item in enumerate(build_dataset(tmp_path / 'shapes', metainfo=meta, **options), start=1):
        sample = item['data_samples']
        drawn = cv2.imread(str(tmp_path / f'shapes/semantic_val/{i:06d}.png'), cv2.IMREAD_UNCHANGED)
        found = sample.gt_sem_seg.sem_seg[0].numpy()
        known = found != VOID
        assert (found[known] == drawn[known]).all()
        hidden = set(drawn[~known].tolist()) - {VOID}
        assert all(label < len(SHAPE_THINGS) for label in hidden)
        crowds += bool(hidden)
    assert crowds


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (lambda path: path.unlink(), r'does not exist.*seg_prefix'),
        (lambda path: path.write_bytes(b''), 'cannot be decoded'),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), 'cannot be decoded'),
        (
            lambda path: cv2.imwrite(str(path), np.zeros((9, 7, 3), np.uint8)),
            r'is 7 x 9 pixels.*are 32 x 24',
        ),
        (lambda path: repaint(path, 1, 77), r'has 1 segment id that segments_info .* lacks: 77\.'),
        (lambda path: repaint(path, 1, 0), rf'lacks 1 segment id .*: {segment_id(1)}\.'),
        (
            lambda path: repaint(path, 1, segment_id(2)),
            rf'lacks 1 segment id .*: {segment_id(1)}\.',
        ),
    ],
    ids=['missing', 'empty', 'cut short', 'size', 'unknown id', 'absent id', 'merged'],
)
def test_a_map_that_does_not_fit_is_named(tmp_path, damage, words):
    picture = Picture(
        np.arange(3)[None].repeat(24, 0).repeat([10, 10, 12], 1), [0, 4], [False, False]
    )
    write_panoptic(tmp_path, [picture])
    dataset = build_dataset(tmp_path)
    damage(tmp_path / 'maps/map0.png')
    with pytest.raises(DataError, match=rf'map0\.png {words}'):
        dataset[0]


def repaint(path, number: int, value: int) -> None:
    """Give the pixels of a segment another id."""
    ids = read_ids(str(path))
    write_ids(path, np.where(ids == segment_id(number), value, ids))
