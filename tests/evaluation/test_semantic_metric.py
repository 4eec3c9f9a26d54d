"""mIoU is that of its definition, with crowds as their class and void left out."""

import numpy as np
import pytest
import torch
from helpers.panoptic_folder import (
    CLASSES,
    Picture,
    evaluate,
    guess,
    prediction,
    random_picture,
    truth_files,
    write_panoptic,
)
from mmengine.structures import PixelData

from mask_dino.messages import DataError

VOID = len(CLASSES)


def classes(picture: Picture) -> np.ndarray:
    return np.array([VOID, *picture.labels])[picture.pixels]


def sample(index: int, labels: np.ndarray):
    data = prediction(index, Picture(labels * 0, [], []))
    data.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(labels)[None])
    return data


@pytest.mark.parametrize('seed', range(3))
def test_miou_is_that_of_all_pixels_together(tmp_path, seed):
    rng = np.random.default_rng(seed)
    truths = [random_picture(rng, 4) for _ in range(6)]
    found = [
        np.where(labels == VOID, 0, labels)
        for labels in (classes(guess(rng, truth)) for truth in truths)
    ]
    write_panoptic(tmp_path, truths)
    results = evaluate(
        dict(type='PanopticIoUMetric', **truth_files(tmp_path)),
        [sample(i, labels) for i, labels in enumerate(found)],
    )
    true, guessed = (
        np.concatenate([labels.ravel() for labels in maps])
        for maps in (map(classes, truths), found)
    )
    true, guessed = true[true != VOID], guessed[true != VOID]
    shown = np.unique(true)
    ious = [
        ((true == c) & (guessed == c)).sum() / ((true == c) | (guessed == c)).sum() for c in shown
    ]
    accuracies = [(guessed[true == c] == c).mean() for c in shown]
    expected = dict(mIoU=np.mean(ious), mAcc=np.mean(accuracies), aAcc=(true == guessed).mean())
    assert results == pytest.approx(
        {f'coco_semantic/{name}': 100 * value for name, value in expected.items()}
    )


def test_crowds_count_as_their_class_and_absent_classes_not(tmp_path):
    pixels = np.repeat([[0], [1], [2]], 8, axis=1)
    write_panoptic(tmp_path, [Picture(pixels, [0, 3], [True, False])])
    metric = dict(type='PanopticIoUMetric', **truth_files(tmp_path))
    right = np.repeat([[4], [0], [3]], 8, axis=1)
    assert evaluate(metric, [sample(0, right)])['coco_semantic/mIoU'] == 100
    right[1, :4] = 2
    assert evaluate(metric, [sample(0, right)])['coco_semantic/mIoU'] == 75


def test_what_cannot_be_compared_is_named(tmp_path):
    write_panoptic(tmp_path, [Picture(np.ones((8, 8), int), [0], [False])])
    metric = dict(type='PanopticIoUMetric', **truth_files(tmp_path))
    with pytest.raises(DataError, match=r'0\.jpg has \(4, 8\).*rescale=True'):
        evaluate(metric, [sample(0, np.zeros((4, 8), int))])
    with pytest.raises(DataError, match='semantic_on=True'):
        evaluate(metric, [prediction(0, Picture(np.zeros((8, 8), int), [], []))])


def test_nothing_to_evaluate_is_an_error_and_no_figure(tmp_path):
    void = Picture(np.zeros((8, 8), int), [], [])
    write_panoptic(tmp_path, [void])
    metric = dict(type='PanopticIoUMetric', **truth_files(tmp_path))
    with pytest.raises(DataError, match=r'panoptic\.json has nothing to evaluate'):
        evaluate(metric, [sample(0, np.zeros((8, 8), np.int64))])


def test_negative_classes_are_refused(tmp_path):
    truth = Picture(np.ones((8, 8), int), [0], [False])
    write_panoptic(tmp_path, [truth])
    metric = dict(type='PanopticIoUMetric', **truth_files(tmp_path))
    with pytest.raises(DataError, match=r'pred_sem_seg of .*0\.jpg has the value -1'):
        evaluate(metric, [sample(0, np.full((8, 8), -1))])
