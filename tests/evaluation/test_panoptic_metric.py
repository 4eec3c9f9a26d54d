"""PQ is that of an obvious implementation, of panopticapi where there is one, and 100 for the truth itself."""

import json
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest
import torch
from helpers.panoptic_folder import (
    CATEGORY,
    CLASSES,
    HEIGHT,
    META,
    THINGS,
    WIDTH,
    Picture,
    evaluate,
    guess,
    panoptic_content,
    prediction,
    random_picture,
    truth_files,
    write_panoptic,
)
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.structures import DetDataSample
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData, PixelData

from mask_dino.boxes import masks_to_boxes
from mask_dino.evaluation.pq import parse_panoptic
from mask_dino.messages import DataError


def regions(picture: Picture) -> dict[int, set]:
    """Return the pixels of each segment; 0 is void."""
    found = defaultdict(set)
    for place, number in np.ndenumerate(picture.pixels):
        found[int(number)].add(place)
    return found


def slow_counts(truth: Picture, guessed: Picture) -> tuple[Counter, Counter, Counter, dict]:
    """Return true positives, false positives, false negatives and IoUs by class, read off the sets of pixels."""
    true, false, missed, ious = Counter(), Counter(), Counter(), defaultdict(float)
    there, found = regions(truth), regions(guessed)
    void = there.pop(0, set())
    found.pop(0, None)
    unmatched = {
        number: label
        for number, label in enumerate(truth.labels, 1)
        if not truth.crowds[number - 1]
    }
    for number, pixels in found.items():
        label = guessed.labels[number - 1]
        seen = pixels - void
        hits = {
            n: len(seen & there[n]) / len(seen | there[n])
            for n in list(unmatched)
            if unmatched[n] == label and len(seen & there[n]) > len(seen | there[n]) / 2
        }
        for n, iou in hits.items():
            true[label] += 1
            ious[label] += iou
            del unmatched[n]
        crowds = [
            n for n, other in enumerate(truth.labels, 1) if other == label and truth.crowds[n - 1]
        ]
        excused = void | (there[crowds[-1]] if crowds else set())
        if not hits and len(pixels & excused) <= len(pixels) / 2:
            false[label] += 1
    missed.update(unmatched.values())
    return true, false, missed, ious


def slow_pq(pairs: list[tuple[Picture, Picture]]) -> dict[str, float]:
    """Return what the metric has to say of pairs of truth and prediction."""
    totals = [Counter(), Counter(), Counter(), Counter()]
    for truth, guessed in pairs:
        for total, counts in zip(totals, slow_counts(truth, guessed), strict=True):
            for label, value in counts.items():
                total[label] += value
    results = {}
    for suffix, labels in {'': range(5), '_th': range(3), '_st': range(3, 5)}.items():
        rows = []
        for label in labels:
            true, false, missed, iou = (total[label] for total in totals)
            if true + false + missed:
                weight = true + false / 2 + missed / 2
                rows.append((iou / weight, iou / true if true else 0, true / weight))
        for name, values in zip(('PQ', 'SQ', 'RQ'), zip(*rows, strict=True), strict=True):
            results[f'coco_panoptic/{name}{suffix}'] = 100 * sum(values) / len(values)
    return results


def random_pairs(seed: int, count: int = 30) -> list[tuple[Picture, Picture]]:
    rng = np.random.default_rng(seed)
    truths = [random_picture(rng, int(rng.integers(1, 9))) for _ in range(count)]
    return [(truth, guess(rng, truth)) for truth in truths]


def score(folder, pairs, **options) -> dict[str, float]:
    write_panoptic(folder, [truth for truth, _ in pairs])
    metric = dict(type='PanopticQualityMetric', **truth_files(folder), **options)
    return evaluate(metric, [prediction(i, guessed) for i, (_, guessed) in enumerate(pairs)])


def test_pairs_have_all_cases():
    pairs = [pair for seed in range(5) for pair in random_pairs(seed)]
    true, false, missed = (
        sum(sum(slow_counts(*pair)[kind].values()) for pair in pairs) for kind in range(3)
    )
    crowds = [
        Counter(label for label, crowd in zip(t.labels, t.crowds, strict=True) if crowd)
        for t, _ in pairs
    ]
    assert min(true, false, missed) > 50
    assert sum(map(len, crowds)) > 50 and any(
        count > 1 for crowd in crowds for count in crowd.values()
    )
    assert sum((truth.pixels == 0).any() for truth, _ in pairs) > 50


@pytest.mark.parametrize('seed', range(5))
def test_pq_is_that_of_the_obvious_implementation(tmp_path, seed):
    pairs = random_pairs(seed)
    assert score(tmp_path, pairs) == pytest.approx(slow_pq(pairs), rel=1e-12)


@pytest.mark.parametrize('seed', range(5))
def test_pq_is_that_of_panopticapi(tmp_path, seed):
    pytest.importorskip('panopticapi', reason='panopticapi, which is not on PyPI, is not installed')
    pairs = random_pairs(seed)
    ours = score(tmp_path, pairs)
    stock = dict(type='CocoPanopticMetric', **truth_files(tmp_path))
    content = panoptic_content([truth for truth, _ in pairs])
    for entry in content['annotations']:  # mmdet looks for maps by the names of images
        (tmp_path / 'maps' / entry['file_name']).rename(
            tmp_path / f'maps/{entry["image_id"] - 100}.png'
        )
    assert evaluate(
        stock, [prediction(i, guessed) for i, (_, guessed) in enumerate(pairs)]
    ) == pytest.approx(ours)


def test_the_truth_itself_has_pq_100(tmp_path):
    # With several crowds of a class, panopticapi excuses what lies in the last alone.
    pairs = [(truth, truth) for truth, _ in random_pairs(0) if sum(truth.crowds) < 2]
    assert any(any(truth.crowds) for truth, _ in pairs)
    assert set(score(tmp_path, pairs).values()) == {100.0}


def test_areas_are_those_of_the_file_or_counted(tmp_path):
    pairs = random_pairs(1)
    expected = score(tmp_path, pairs)
    content = panoptic_content([truth for truth, _ in pairs])
    for entry in content['annotations']:
        for segment in entry['segments_info']:
            del segment['area']
    write_panoptic(tmp_path / 'without', [truth for truth, _ in pairs], content)
    metric = dict(type='PanopticQualityMetric', **truth_files(tmp_path / 'without'))
    assert (
        evaluate(metric, [prediction(i, guessed) for i, (_, guessed) in enumerate(pairs)])
        == expected
    )


def test_classes_that_nobody_sees_do_not_count(tmp_path):
    pixels = np.ones((8, 8), int)
    truth = Picture(pixels, [0], [False])
    found = score(tmp_path, [(truth, truth)])
    assert found['coco_panoptic/PQ'] == found['coco_panoptic/PQ_th'] == 100
    assert np.isnan(found['coco_panoptic/PQ_st'])


def test_nothing_to_evaluate_is_an_error_and_no_figure(tmp_path):
    void = Picture(np.zeros((8, 8), int), [], [])
    crowd = Picture(np.ones((8, 8), int), [0], [True])
    for truth in (void, crowd):
        with pytest.raises(DataError, match=r'panoptic\.json has nothing to evaluate'):
            score(tmp_path, [(truth, crowd)])


def test_the_class_table_comes_on_request(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', lines.append)
    score(tmp_path, random_pairs(2))
    assert 'Things' in str(lines) and 'owl' not in str(lines)
    score(tmp_path, random_pairs(2), classwise=True)
    assert all(name in str(lines) for name in CLASSES)


def test_only_rows_of_classes_that_occur_are_collected(tmp_path):
    from mask_dino.evaluation import PanopticQualityMetric

    pairs = random_pairs(3, count=4)
    write_panoptic(tmp_path, [truth for truth, _ in pairs])
    metric = PanopticQualityMetric(**truth_files(tmp_path))
    metric.dataset_meta = META
    for i, (_, guessed) in enumerate(pairs):
        metric.process(None, [prediction(i, guessed).to_dict()])
    assert [type(rows) for rows, _ in metric.results] == [np.ndarray] * 4
    assert all(rows.shape[0] <= len(CLASSES) and rows.shape[1] == 5 for rows, _ in metric.results)


def test_files_for_a_test_server(tmp_path):
    pairs = random_pairs(4, count=6)
    content = panoptic_content([truth for truth, _ in pairs])
    del content['annotations']  # as that of test-dev
    write_panoptic(tmp_path, [truth for truth, _ in pairs], content)
    prefix = tmp_path / 'out/test-dev'
    metric = dict(type='PanopticQualityMetric', format_only=True, outfile_prefix=str(prefix))
    samples = [prediction(i, guessed) for i, (_, guessed) in enumerate(pairs)]
    assert evaluate(metric | dict(ann_file=str(tmp_path / 'panoptic.json')), samples) == {}
    entries = json.loads(prefix.with_name('test-dev.panoptic.json').read_text())['annotations']
    assert [entry['image_id'] for entry in entries] == [100 + i for i in range(6)]
    for entry, (_, guessed) in zip(entries, pairs, strict=True):
        blue, green, red = (
            cv2.imread(str(tmp_path / 'out/test-dev.panoptic' / entry['file_name'])).astype(int).T
        )
        ids = (red + 256 * green + 65536 * blue).T
        assert ((ids == 0) == (guessed.pixels == 0)).all()
        named = {segment['id']: segment['category_id'] for segment in entry['segments_info']}
        assert set(named) == set(np.unique(ids[ids > 0]).tolist())
        for number in set(np.unique(guessed.pixels).tolist()) - {0}:
            (identity,) = set(ids[guessed.pixels == number].tolist())
            assert named[identity] == CATEGORY[guessed.labels[number - 1]]


def test_truth_that_changes_is_read_anew(tmp_path):
    first, second = random_pairs(6, count=5), random_pairs(7, count=5)
    before = score(tmp_path, first)
    assert score(tmp_path, second) == pytest.approx(slow_pq(second)) != before


def test_files_are_evaluated_too_if_wanted(tmp_path):
    pairs = random_pairs(5, count=3)
    assert score(tmp_path, pairs, outfile_prefix=str(tmp_path / 'x')) == score(tmp_path, pairs)
    assert len(list((tmp_path / 'x.panoptic').iterdir())) == 3


def test_stuff_alone_and_class_zero_are_no_void():
    values = np.array([[0, 4, 5], [2001, 1000, 5]])
    found = parse_panoptic(values, INSTANCE_OFFSET, 5)
    assert found.labels.tolist() == [0, 4, 0, 1]
    assert found.pixels.tolist() == [[1, 2, 0], [4, 3, 0]]


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='format_only=True needs outfile_prefix'):
        evaluate(dict(type='PanopticQualityMetric', ann_file='x.json', format_only=True), [])
    with pytest.raises(ValueError, match='seg_prefix is missing'):
        evaluate(dict(type='PanopticQualityMetric', ann_file='x.json'), [])


def test_what_cannot_be_compared_is_named(tmp_path):
    truth = random_pairs(0, count=1)[0][0]
    write_panoptic(tmp_path, [truth])
    metric = dict(type='PanopticQualityMetric', **truth_files(tmp_path))
    with pytest.raises(DataError, match=r'no image with id 101.*ann_file'):
        evaluate(metric, [prediction(1, truth)])
    small = Picture(truth.pixels[:10], truth.labels, truth.crowds)
    with pytest.raises(DataError, match=r'0\.jpg has \(10, 32\).*rescale=True'):
        evaluate(metric, [prediction(0, small)])
    without = prediction(0, truth)
    del without.pred_panoptic_seg
    with pytest.raises(DataError, match='panoptic_on=True'):
        evaluate(metric, [without])
    (tmp_path / 'panoptic.json').unlink()
    with pytest.raises(DataError, match=r'panoptic\.json does not exist'):
        evaluate(metric | dict(seg_prefix='elsewhere'), [prediction(0, truth)])


def test_keys_are_those_of_mmdet(tmp_path):
    keys = {
        f'coco_panoptic/{name}{kind}' for name in ('PQ', 'SQ', 'RQ') for kind in ('', '_th', '_st')
    }
    assert set(score(tmp_path, random_pairs(0, count=5))) == keys
    assert len(THINGS) == 3


def test_the_truth_is_perfect_under_any_ids(tmp_path):
    """PQ, mIoU and AP of things and of stuff, with odd but legal ids of images, categories and segments."""
    numberings = [
        lambda i: i,
        lambda i: f'n{i * 7}',
        lambda i: -5 * i,
        lambda i: 2**40 + i,
        lambda i: i + 0.5,
    ]
    truths = [
        truth for truth, _ in random_pairs(0) if sum(truth.crowds) == 0 and min(truth.pixels.shape)
    ][:4]
    kinds = ('PanopticQualityMetric', 'PanopticIoUMetric', 'ThingAPMetric', 'StuffAPMetric')
    for turn, numbering in enumerate(numberings):
        content = panoptic_content(truths)
        renumber_panoptic(content, numbering, numberings[turn - 1])
        folder = tmp_path / str(turn)
        write_panoptic(folder, truths, content)
        options = dict(
            ThingAPMetric=dict(metric=['bbox', 'segm']), StuffAPMetric=dict(metric=['segm'])
        )
        metrics = [dict(type=kind, **truth_files(folder)) | options.get(kind, {}) for kind in kinds]
        samples = [perfect_sample(i, truth, numbering) for i, truth in enumerate(truths)]
        figures = evaluate(metrics, samples)
        assert len(figures) == 21
        perfect = {name: 1.0 if 'bbox' in name or 'segm' in name else 100.0 for name in figures}
        assert figures == pytest.approx(perfect)


def renumber_panoptic(content: dict, images, categories) -> None:
    """Give images and categories other ids; segments keep theirs, which are in the PNGs."""
    for image in content['images']:
        image['id'] = images(image['id'])
    for category in content['categories']:
        category['id'] = categories(category['id'])
    for entry in content['annotations']:
        entry['image_id'] = images(entry['image_id'])
        for segment in entry['segments_info']:
            segment['category_id'] = categories(segment['category_id'])


def perfect_sample(index: int, truth: Picture, numbering) -> DetDataSample:
    """Return the ground truth of a picture as every kind of prediction."""
    sample = prediction(index, truth)
    sample.set_metainfo(dict(img_id=numbering(100 + index)))
    labels = np.array([0, *truth.labels])[truth.pixels]
    sample.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(labels)[None])
    sample.pred_instances = perfect_instances(truth, lambda label: label < len(THINGS))
    sample.pred_stuff_instances = perfect_instances(truth, lambda label: label >= len(THINGS))
    return sample


def perfect_instances(truth: Picture, is_chosen) -> InstanceData:
    """Return the segments of some classes as instances."""
    numbers = [number for number, label in enumerate(truth.labels, start=1) if is_chosen(label)]
    masks = torch.from_numpy(truth.pixels == np.array(numbers, int).reshape(-1, 1, 1))
    labels = torch.tensor([truth.labels[number - 1] for number in numbers], dtype=torch.int64)
    boxes = masks_to_boxes(masks) * torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    corners = torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)
    return InstanceData(masks=masks, labels=labels, bboxes=corners, scores=torch.ones(len(labels)))
