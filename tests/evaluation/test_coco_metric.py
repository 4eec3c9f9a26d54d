"""AP is that of pycocotools where pycocotools is right, and right where it is not."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.panoptic_folder import evaluate
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmengine.structures import InstanceData
from pycocotools import mask as coco_masks

from mask_dino.messages import DataError, PredictionError

SIZE = 64
CLASSES = ('ant', 'bee', 'cow')
META = dict(classes=CLASSES)
FIELDS = ('labels', 'scores', 'bboxes')


def box_mask(box) -> np.ndarray:
    x, y, w, h = (round(value) for value in box)
    mask = np.zeros((SIZE * 4, SIZE * 4), np.uint8)
    mask[y : y + h, x : x + w] = 1
    return mask


def random_boxes(rng, count: int) -> np.ndarray:
    """Return boxes x, y, width, height of all ranges of areas, with whole numbers."""
    size = rng.integers(4, 130, (count, 2))
    corner = rng.integers(0, 4 * SIZE - size + 1)
    return np.concatenate((corner, size), 1)


def random_content(seed: int, images: int = 12, crowds: float = 0.15) -> dict:
    """Return a file of images with up to six objects each, some of which are crowds."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(images):
        for box in random_boxes(rng, int(rng.integers(0, 7))).tolist():
            crowd = bool(rng.random() < crowds)
            mask = coco_masks.encode(np.asfortranarray(box_mask(box)))
            code = dict(size=mask['size'], counts=mask['counts'].decode())
            annotations.append(
                dict(
                    image_id=image + 1,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=int(crowd),
                    segmentation=code,
                )
                | dict(id=len(annotations) + 1, category_id=int(rng.integers(1, 4)))
            )
    return dict(
        images=[
            dict(id=i + 1, file_name=f'{i}.jpg', width=SIZE * 4, height=SIZE * 4)
            for i in range(images)
        ],
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)],
        annotations=annotations,
    )


def sample(image: dict, boxes, labels, scores) -> DetDataSample:
    """Return a data sample of detections, with the masks of their boxes x, y, width, height."""
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    masks = np.array([box_mask(box) for box in boxes], bool).reshape(-1, SIZE * 4, SIZE * 4)
    corners = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)
    found = InstanceData(
        bboxes=torch.tensor(corners, dtype=torch.float32),
        labels=torch.tensor(labels, dtype=torch.int64),
        scores=torch.tensor(scores, dtype=torch.float32),
        masks=torch.from_numpy(masks),
    )
    meta = dict(
        img_id=image['id'], img_path=image['file_name'], ori_shape=(image['height'], image['width'])
    )
    return DetDataSample(metainfo=meta, pred_instances=found)


def objects(content: dict, image: dict) -> list[dict]:
    return [
        a for a in content['annotations'] if a['image_id'] == image['id'] and not a.get('iscrowd')
    ]


def label_of(content: dict, annotation: dict) -> int:
    return [c['id'] for c in content['categories']].index(annotation['category_id'])


def truth_samples(content: dict) -> list[DetDataSample]:
    """Return the objects that are no crowds as detections."""
    samples = []
    for image in content['images']:
        annotated = objects(content, image)
        labels = [label_of(content, a) for a in annotated]
        samples.append(sample(image, [a['bbox'] for a in annotated], labels, [1.0] * len(labels)))
    return samples


def random_samples(content: dict, seed: int, extra: int = 6) -> list[DetDataSample]:
    """Return shifted objects, crowds too, and random boxes; some scores are equal."""
    rng = np.random.default_rng(seed)
    samples = []
    for image in content['images']:
        annotated = [
            a for a in content['annotations'] if a['image_id'] == image['id'] and rng.random() < 0.9
        ]
        shifted = [
            np.add(a['bbox'], [*rng.integers(0, 4, 2), 0, 0]) for a in annotated for _ in range(2)
        ]
        boxes = np.array([*shifted, *random_boxes(rng, extra)])
        boxes[:, :2] = np.minimum(boxes[:, :2], 4 * SIZE - boxes[:, 2:])
        labels = [label_of(content, a) for a in annotated for _ in range(2)] + rng.integers(
            0, 3, extra
        ).tolist()
        samples.append(sample(image, boxes, labels, rng.random(len(boxes)).round(2)))
    return samples


def write(folder: Path, content: dict) -> str:
    path = folder / 'instances.json'
    path.write_text(json.dumps(content))
    return str(path)


def score(
    folder: Path, content: dict, samples: list, kind: str = 'CompleteCocoMetric', **options
) -> dict:
    metric = dict(type=kind, ann_file=write(folder, content), metric=['bbox', 'segm']) | options
    results = evaluate(metric, samples, META)
    return {name.removeprefix('coco/'): value for name, value in results.items()}


def without_nothing(figures: dict) -> dict:
    """Leave out what has no object: -1 in mmdet, NaN for classes."""
    return {name: value for name, value in figures.items() if value != -1 and value == value}


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(classwise=True),
        dict(metric='proposal'),
        dict(
            metric=['bbox'],
            metric_items=['AR@100', 'AR@300', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000', 'mAP_75'],
        ),
    ],
)
def test_figures_are_those_of_pycocotools(tmp_path, seed, options):
    content = random_content(seed)
    samples = random_samples(content, seed + 100)
    expected = score(tmp_path, content, samples, 'CocoMetric', **options)
    assert without_nothing(score(tmp_path, content, samples, **options)) == without_nothing(
        expected
    )
    assert 0.05 < min(without_nothing(expected).values()) < 1


@pytest.mark.parametrize('seed', range(3))
def test_figures_of_few_detections_are_those_of_pycocotools(tmp_path, seed):
    """pycocotools itself, asked for 1, 2 and 4 detections; its summary would print -1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content = random_content(seed)
    samples = random_samples(content, seed)
    items = ['mAP', 'mAP_50', 'mAP_m', 'AR@1', 'AR@2', 'AR@4', 'AR_l@4']
    ours = score(
        tmp_path, content, samples, metric='bbox', proposal_nums=(4, 1, 2), metric_items=items
    )
    truth = COCO(write(tmp_path, content))
    rows = [
        dict(
            image_id=s.img_id,
            category_id=int(label) + 1,
            score=float(value),
            bbox=[*box[:2], *(box[2:] - box[:2])],
        )
        for s in samples
        for label, value, box in zip(
            *(s.pred_instances[k].numpy() for k in ('labels', 'scores', 'bboxes')), strict=True
        )
    ]
    evaluation = COCOeval(truth, truth.loadRes(rows), 'bbox')
    evaluation.params.maxDets = [1, 2, 4]
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = evaluation.eval['precision'], evaluation.eval['recall']
    parts = [precision[..., 0, 2], precision[0, ..., 0, 2], precision[..., 2, 2]]
    parts += [recall[..., 0, 0], recall[..., 0, 1], recall[..., 0, 2], recall[..., 3, 2]]
    expected = [round(float(part[part > -1].mean()), 3) for part in parts]
    assert list(ours.values()) == expected


def crowded(count: int) -> dict:
    """Return one image with many objects of one class."""
    content = random_content(0, images=1)
    places = [(i % 16 * 16, i // 16 * 16) for i in range(count)]
    content['annotations'] = [
        dict(id=i, image_id=1, category_id=2, bbox=[x, y, 8, 8], area=64, iscrowd=0)
        | dict(segmentation=[[x, y, x + 8, y, x + 8, y + 8, x, y + 8]])
        for i, (x, y) in enumerate(places)
    ]
    return content


@pytest.mark.parametrize('numbers', [(100, 300, 1000), (1, 10, 300), (300,), 210, [500, 250]])
@pytest.mark.parametrize('thresholds', [None, [0.5], 0.5, [0.5, 0.75, 0.9]])
def test_many_perfect_detections_have_ap_1(tmp_path, numbers, thresholds):
    content = crowded(210)
    options = dict(proposal_nums=numbers, iou_thrs=thresholds, classwise=True)
    figures = score(tmp_path, content, truth_samples(content), **options)
    assert {'bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_s', 'bee_precision'} <= figures.keys()
    assert set(without_nothing(figures).values()) == {1.0}
    assert ('bbox_mAP_75' in figures) == (thresholds in (None, [0.5, 0.75, 0.9]))


def test_recall_is_that_of_the_number_in_its_name(tmp_path):
    content = crowded(200)
    items = ['AR@20', 'AR@50', 'AR@200', 'AR_s@100']
    figures = score(
        tmp_path,
        content,
        truth_samples(content),
        metric='bbox',
        proposal_nums=(50, 200),
        metric_items=items,
    )
    assert list(figures.values()) == [0.1, 0.25, 1.0, 0.5]
    figures = score(
        tmp_path, content, truth_samples(content), metric='proposal', proposal_nums=(20, 400)
    )
    assert [figures[name] for name in ('AR@20', 'AR@400', 'AR_s@400')] == [0.1, 1.0, 1.0]
    assert score(
        tmp_path, content, truth_samples(content), metric='proposal_fast', proposal_nums=[100, 200]
    ) == {
        'AR@100': 0.5,
        'AR@200': 1.0,
    }


def test_too_few_detections_for_the_objects_are_told(tmp_path, monkeypatch):
    from mmengine.logging import MMLogger

    lines = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', lines.append)
    content = crowded(210)
    assert (
        score(tmp_path, content, truth_samples(content), proposal_nums=(1, 10, 100))['bbox_mAP']
        < 0.5
    )
    assert '210 objects' in lines[0] and 'proposal_nums' in lines[0]


IDS = {
    'zero': lambda i: i,
    'uuid': lambda i: f'0a1b-{i * 7919 % 1000:04d}-ff',
    'negative': lambda i: -1 - 3 * i,
    'huge': lambda i: 2**70 + i,
    'float': lambda i: i / 2,
    'falling': lambda i: 10_000 - i,
    'mixed': lambda i: (i, f'n{i}', -i - 0.5)[i % 3],
}


@pytest.mark.parametrize('annotations', [*IDS, 'by image', 'none'])
@pytest.mark.parametrize(('images', 'categories'), [*zip(IDS, reversed(IDS), strict=True)])
def test_ids_of_any_kind_give_the_same_figures(tmp_path, annotations, images, categories):
    content = random_content(1, images=5)
    samples = random_samples(content, 2)
    expected = score(tmp_path, content, samples)
    seen = dict.fromkeys((image['id'] for image in content['images']), 0)
    for number, annotation in enumerate(content['annotations']):
        seen[annotation['image_id']] += 1
        ids = {'by image': seen[annotation['image_id']], 'none': None}
        annotation['id'] = ids[annotations] if annotations in ids else IDS[annotations](number)
        annotation['image_id'] = IDS[images](annotation['image_id'])
        annotation['category_id'] = IDS[categories](annotation['category_id'])
    for entry, kind in [
        *((e, images) for e in content['images']),
        *((e, categories) for e in content['categories']),
    ]:
        entry['id'] = IDS[kind](entry['id'])
    for data, image in zip(samples, content['images'], strict=True):
        data.set_metainfo(dict(img_id=image['id']))
    renumbered = score(tmp_path, content, samples)
    # Detections of equal scores are counted in the order of images.
    assert renumbered == pytest.approx(expected, abs=0.005, nan_ok=True)
    truth = without_nothing(score(tmp_path, content, truth_samples(content)))
    assert set(truth.values()) == {1.0}


@pytest.mark.parametrize('field', ['scores', 'bboxes'])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_predictions_that_are_no_numbers_are_refused(tmp_path, field, value):
    content = random_content(3, images=3)
    samples = random_samples(content, 3)
    samples[1].pred_instances[field].view(-1)[2] = value
    with pytest.raises(
        PredictionError, match=rf'1\.jpg.*pred_instances\.{field} are NaN or infinite'
    ):
        score(tmp_path, content, samples)


def test_nothing_to_evaluate_is_an_error_and_no_figure(tmp_path):
    content = random_content(4, images=3)
    samples = random_samples(content, 4)
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1
    with pytest.raises(DataError, match=r'instances\.json has no object to find for metric=.bbox.'):
        score(tmp_path, content, samples)


def test_a_figure_without_objects_is_never_the_best(tmp_path):
    content = crowded(3)
    figures = score(tmp_path, content, truth_samples(content))
    assert figures['bbox_mAP_s'] == 1 and 'bbox_mAP_l' not in figures
    assert -1 not in figures.values()


def test_nothing_detected_is_ap_0(tmp_path):
    content = random_content(5)
    samples = [sample(image, [], [], []) for image in content['images']]
    figures = score(tmp_path, content, samples)
    assert set(figures.values()) == {0.0} and len(figures) == 12


def test_options_that_contradict_each_other_are_refused(tmp_path):
    content = random_content(5, images=1)
    for options, message in [
        (dict(metric_items=['AP']), "no figure called 'AP'"),
        (dict(metric_items=['AR']), "no figure called 'AR'"),
        (dict(metric_items=['AR@300'], proposal_nums=100), 'Add 300'),
        (dict(metric_items=['mAP_75'], iou_thrs=[0.5]), 'needs 0.75 in iou_thrs'),
        (dict(proposal_nums=()), 'numbers of 1 or more'),
        (dict(proposal_nums=[100, 0.5]), 'numbers of 1 or more'),
        (dict(iou_thrs=[]), 'IoUs above 0'),
        (dict(iou_thrs=[50, 75]), 'IoUs above 0'),
        (dict(iou_thrs=0), 'IoUs above 0'),
    ]:
        with pytest.raises(ValueError, match=message):
            score(tmp_path, content, [], **options)


def test_files_that_do_not_fit_the_data_set_are_named_at_the_first_image(tmp_path):
    content = random_content(6, images=2)
    samples = random_samples(content, 6)
    samples[0].set_metainfo(dict(img_id=99))
    with pytest.raises(DataError, match=r'instances\.json has no image with id 99 \(0\.jpg\)'):
        score(tmp_path, content, samples)
    content['categories'][1]['name'] = 'bat'
    with pytest.raises(DataError, match=r'has no category called bee\..*ant, bee, cow'):
        score(tmp_path, content, samples[1:])


def test_categories_in_another_order_are_refused_unless_the_data_set_sorts_them(tmp_path):
    content = random_content(6, images=3)
    samples = random_samples(content, 6)
    expected = score(tmp_path, content, samples)
    content['categories'].reverse()
    with pytest.raises(DataError, match='has its categories in another order'):
        score(tmp_path, content, samples)
    assert score(tmp_path, content, samples, sort_categories=True) == pytest.approx(
        expected, nan_ok=True
    )


@pytest.mark.parametrize('label', [3, -1])
def test_labels_beyond_the_classes_are_refused(tmp_path, label):
    content = random_content(7, images=1)
    samples = random_samples(content, 7)
    samples[0].pred_instances.labels[0] = label
    with pytest.raises(
        DataError, match=rf'0\.jpg has the label {label}, but metainfo\.classes has 3 names'
    ):
        score(tmp_path, content, samples)


def test_masks_that_are_no_numbers_are_refused(tmp_path):
    content = random_content(3, images=2)
    samples = random_samples(content, 3)
    masks = samples[1].pred_instances.masks.float()
    masks.view(-1)[7] = float('nan')
    samples[1].pred_instances.masks = masks
    with pytest.raises(PredictionError, match=r'1\.jpg.*pred_instances\.masks are NaN'):
        score(tmp_path, content, samples)


def test_scores_are_not_taken_for_masks(tmp_path):
    content = random_content(3, images=1)
    samples = truth_samples(content)
    masks = samples[0].pred_instances.masks.float()
    samples[0].pred_instances.masks = masks
    assert set(without_nothing(score(tmp_path, content, samples)).values()) == {1.0}
    samples[0].pred_instances.masks = 0.9 * masks
    with pytest.raises(DataError, match='other values than 0 and 1'):
        score(tmp_path, content, samples)


def cut(masks):
    return masks[:, :-1]


def halve(masks):
    return masks[:, ::2, ::2]


@pytest.mark.parametrize('change', [cut, halve])
@pytest.mark.parametrize('encoded', [False, True])
def test_masks_of_another_size_than_the_image_are_refused(tmp_path, change, encoded):
    content = random_content(3, images=1)
    samples = truth_samples(content)
    masks = change(samples[0].pred_instances.masks)
    samples[0].pred_instances.masks = encode_mask_results(masks.numpy()) if encoded else masks
    with pytest.raises(DataError, match=r'predicted masks of .*0\.jpg have the height and width'):
        score(tmp_path, content, samples)


def test_results_in_bfloat16_are_evaluated(tmp_path):
    content = random_content(3, images=1)
    samples = truth_samples(content)
    instances = samples[0].pred_instances
    instances.scores = instances.scores.bfloat16()
    instances.bboxes = instances.bboxes.bfloat16()
    assert score(tmp_path, content, samples)['segm_mAP'] == 1


@pytest.mark.parametrize('field', ['area', 'bbox', 'category_id', 'image_id'])
def test_an_annotation_without_a_field_is_named_with_its_file(tmp_path, field):
    content = random_content(3, images=1)
    samples = random_samples(content, 3)
    del content['annotations'][1][field]
    with pytest.raises(DataError, match=rf'instances\.json .*{field}'):
        score(tmp_path, content, samples)


def test_a_class_without_objects_has_no_figure(tmp_path):
    content = random_content(3, images=2)
    lost = content['categories'][0]
    content['annotations'] = [
        annotation
        for annotation in content['annotations']
        if annotation['category_id'] != lost['id']
    ]
    figures = score(tmp_path, content, truth_samples(content), classwise=True)
    names = [category['name'] for category in content['categories']]
    present = [name for name in names if f'{name}_precision' in figures]
    assert lost['name'] not in present and len(present) == len(names) - 1
    assert not any(np.isnan(value) for value in figures.values())


def test_images_without_result_are_told(tmp_path, monkeypatch):
    from mmengine.logging import MMLogger

    lines = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', lines.append)
    content = random_content(8, images=4)
    score(tmp_path, content, truth_samples(content)[:2])
    assert '2 images without result (2.jpg, 3.jpg)' in lines[0]


def test_files_of_results_are_those_of_mmdet(tmp_path):
    content = random_content(9, images=3)
    written = []
    for kind in ('CocoMetric', 'CompleteCocoMetric'):
        prefix = str(tmp_path / kind)
        assert (
            score(
                tmp_path,
                content,
                random_samples(content, 9),
                kind,
                format_only=True,
                outfile_prefix=prefix,
            )
            == {}
        )
        written.append(
            [json.loads(Path(f'{prefix}.{part}.json').read_text()) for part in ('bbox', 'segm')]
        )
    assert written[0] == written[1] and len(written[0][1]) > 10


def test_results_that_are_run_lengths_already_are_taken_as_they_are(tmp_path):
    content = random_content(10)
    samples = random_samples(content, 10)
    expected = score(tmp_path, content, samples)
    for data in samples:
        masks = data.pred_instances.masks.numpy().astype(np.uint8)
        data.pred_instances.masks = [coco_masks.encode(np.asfortranarray(mask)) for mask in masks]
    assert score(tmp_path, content, samples) == pytest.approx(expected, nan_ok=True)


def test_annotations_may_come_with_the_data_samples(tmp_path):
    content = random_content(11)
    samples = random_samples(content, 11)
    for data, image in zip(samples, content['images'], strict=True):
        annotated = [a for a in content['annotations'] if a['image_id'] == image['id']]
        corners = [[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in annotated)]
        data.instances = [
            dict(
                bbox=box,
                bbox_label=label_of(content, a),
                ignore_flag=a['iscrowd'],
                mask=a['segmentation'],
            )
            for a, box in zip(annotated, corners, strict=True)
        ]
    found = score(tmp_path, content, samples, ann_file=None)
    assert found == pytest.approx(score(tmp_path, content, samples), nan_ok=True)
