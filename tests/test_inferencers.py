"""The inferencers of MMDetection and MMSegmentation take folders, equal names, grey arrays, and arrays before paths."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers.tiny import NUM_CLASSES, tiny_config
from mmdet.apis import DetInferencer, det_inferencer, inference_detector, init_detector
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.registry import init_default_scope
from mmseg.apis import MMSegInferencer, inference, inference_model, init_model

import mask_dino.det
import mask_dino.seg  # noqa: F401  both shells change the inference of their framework
from mask_dino.inferencers import FileNames, list_images, to_three_channels

SEMANTIC = 'configs/maskdino/maskdino_tiny_shapes-semantic.py'
HEIGHT, WIDTH = 40, 56
rng = np.random.default_rng(0)


def picture(*shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> Path:
    """Two folders with images of equal names, and a file that is no image."""
    root = tmp_path_factory.mktemp('photos')
    for name in ('a/1.jpg', 'a/1.png', 'a/2.JPG', 'a/3.Jpeg', 'a/4.TIF', 'b/1.jpg'):
        (root / name).parent.mkdir(exist_ok=True)
        suffix = Path(name).suffix.lower()
        (root / name).write_bytes(cv2.imencode(suffix, picture(HEIGHT, WIDTH, 3))[1].tobytes())
    (root / 'a/notes.txt').write_text('no image')
    return root


@pytest.fixture(scope='module')
def detection() -> Config:
    """A small detector with a data config; its classes are those of Shapes."""
    config = Config.fromfile('configs/_base_/datasets/shapes_instance.py')
    config.merge_from_dict(Config.fromfile('configs/_base_/default_runtime.py').to_dict())
    config.visualizer.name = 'detection'  # mmengine has one visualizer of each name
    config.model = tiny_config()
    config.model.test_cfg.max_per_image = 3
    return config


@pytest.fixture(scope='module')
def detector(detection) -> DetInferencer:
    init_default_scope('mmdet')
    torch.manual_seed(0)
    made = DetInferencer(detection, device='cpu', show_progress=False)
    made.model.dataset_meta['classes'] = detection.metainfo.classes
    assert len(detection.metainfo.classes) == NUM_CLASSES
    return made


@pytest.fixture(scope='module')
def segmentor() -> MMSegInferencer:
    torch.manual_seed(0)
    config = Config.fromfile(SEMANTIC)
    config.visualizer.name = 'segmentation'
    made = MMSegInferencer(config, device='cpu')
    made.show_progress = False
    made.model.dataset_meta = dict(classes=list('abcdefgh'), palette=[[i, i, i] for i in range(8)])
    return made


@pytest.fixture(params=['detector', 'segmentor'])
def inferencer(request):
    init_default_scope('mmdet' if request.param == 'detector' else 'mmseg')
    return request.getfixturevalue(request.param)


def test_a_folder_gives_all_its_images_whatever_the_case_of_their_suffix(inferencer, photos):
    assert len(inferencer(str(photos / 'a'))['predictions']) == 5
    assert len(inferencer(photos / 'a')['predictions']) == 5
    assert len(inferencer([str(photos / 'a'), str(photos / 'b/1.jpg')])['predictions']) == 6


def test_a_folder_without_images_is_named(inferencer, tmp_path):
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(
        FileNotFoundError, match=r'none of its 1 file is an image.*\.jpg.*in any case'
    ):
        inferencer(str(tmp_path))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_images_of_one_name_have_files_of_their_own(detector, photos, tmp_path):
    init_default_scope('mmdet')
    images = [str(photos / name) for name in ('a/1.jpg', 'b/1.jpg', 'a/1.png', 'a/2.JPG')]
    for batch_size in (1, 3):  # the same names when it is done again
        found = detector(
            images,
            batch_size=batch_size,
            out_dir=str(tmp_path),
            no_save_pred=False,
            pred_score_thr=0,
        )
        assert files(tmp_path / 'preds') == ['1.json', '2.json', 'a_1.json', 'b_1.json']
        assert files(tmp_path / 'vis') == ['1.jpg', '2.JPG', 'a_1.png', 'b_1.jpg']
        assert not [path for path in tmp_path.iterdir() if path.name not in ('preds', 'vis')]
    for name, result in zip(('1', 'b_1', 'a_1', '2'), found['predictions'], strict=True):
        written = json.loads((tmp_path / f'preds/{name}.json').read_text())
        assert written['scores'] == result['scores']
    assert len(found['visualization']) == 4


def test_pictures_of_one_name_are_drawn_apart_by_mmseg(segmentor, photos, tmp_path):
    init_default_scope('mmseg')
    images = [str(photos / 'a/1.jpg'), str(photos / 'b/1.jpg')]
    found = segmentor(images, out_dir=str(tmp_path), return_vis=True)
    assert files(tmp_path / 'vis') == ['1.jpg', 'b_1.jpg']
    assert len(files(tmp_path / 'pred')) == 2
    drawn = cv2.imread(str(tmp_path / 'vis/b_1.jpg'))[..., ::-1]
    assert abs(drawn.astype(int) - found['visualization'][1]).mean() < 10
    assert segmentor(images)['visualization'] == []


def test_names_stay_with_their_image():
    names = FileNames()
    paths = ['x/a/1.jpg', 'y/a/1.jpg', 'y/a/1.png', 'https://host/a/1.jpg', 'x/a/1.jpg']
    chosen = [names.choose('out', path) for path in paths]
    assert chosen[0] == chosen[-1] == '1' and chosen[1] == 'a_1' and chosen[2] == 'y_a_1'
    assert len({*chosen}) == 4 and not any(set(':/\\') & set(name) for name in chosen)
    assert names.choose('elsewhere', paths[1]) == '1'


def test_grey_arrays_are_as_three_equal_channels(inferencer):
    grey = picture(HEIGHT, WIDTH)
    expected = inferencer(np.stack([grey] * 3, -1), return_vis=True)
    for image in (grey, grey[..., None]):
        found = inferencer(image, return_vis=True)
        np.testing.assert_equal(found['predictions'], expected['predictions'])
        assert np.shape(found['visualization']) == np.shape(expected['visualization'])
    rgba = np.concatenate((np.stack([grey] * 3, -1), picture(HEIGHT, WIDTH, 1)), -1)
    np.testing.assert_equal(
        inferencer([rgba, grey])['predictions'][0], inferencer([grey, rgba])['predictions'][1]
    )


def test_arrays_are_saved_under_numbers(detector, tmp_path):
    init_default_scope('mmdet')
    for _ in range(2):
        detector(picture(HEIGHT, WIDTH), out_dir=str(tmp_path), no_save_pred=False)
    assert files(tmp_path / 'preds') == ['0.json', '1.json']
    assert len(files(tmp_path / 'vis')) == 2


def test_arrays_and_paths_take_turns_in_one_call_and_in_several(inferencer, photos):
    path = str(photos / 'b/1.jpg')
    array = cv2.imread(path)
    together = inferencer([array, path, array])['predictions']
    for result in (*together, inferencer(path)['predictions'], inferencer(array)['predictions']):
        result = result[0] if isinstance(result, list) else result
        np.testing.assert_equal(result, together[0])


@pytest.mark.parametrize('shape', [(4,), (4, 5, 2), (2, 4, 5, 3), (0, 5), (4, 0, 3)])
def test_arrays_that_are_no_image_are_refused(shape):
    with pytest.raises(ValueError, match=r'\(H, W, 3\).*several images are a list'):
        to_three_channels(np.zeros(shape, np.uint8))


def test_urls_and_dictionaries_are_left_to_the_framework():
    described = dict(img_path='x.jpg')
    assert list_images(['https://host/x.jpg', described]) == ['https://host/x.jpg', described]


def test_an_array_before_a_path_does_not_spoil_a_detector(detection, photos):
    init_default_scope('mmdet')
    model = init_detector(detection, device='cpu')
    path = str(photos / 'b/1.jpg')
    pipeline = detection.test_dataloader.to_dict()
    array = cv2.imread(path)
    scores = [
        inference_detector(model, image).pred_instances.scores
        for image in (path, array, path, array)
    ]
    assert all(score.equal(scores[0]) for score in scores)
    for mixed in ([array, path], [path, array]):
        for result in inference_detector(model, mixed):
            assert result.pred_instances.scores.equal(scores[0])
    assert inference_detector(model, array[..., 0]).pred_instances.scores.isfinite().all()
    assert detection.test_dataloader.to_dict() == pipeline


def test_an_array_before_a_path_does_not_spoil_a_segmentor(photos):
    model = init_model(SEMANTIC, device='cpu')
    pipeline = [dict(transform) for transform in model.cfg.test_pipeline]
    path = str(photos / 'b/1.jpg')
    array = cv2.imread(path)
    scores = [inference_model(model, image).seg_logits.data for image in (path, array, path, array)]
    assert all(score.equal(scores[0]) for score in scores)
    for mixed in ([array, path], [path, array]):
        for result in inference_model(model, mixed):
            assert result.seg_logits.data.allclose(scores[0], atol=1e-5)
    grey, both = inference_model(model, array[..., 0]), inference_model(model, [array, array])
    assert grey.seg_logits.data.isfinite().all() and len(both) == 2
    assert model.cfg.test_pipeline == pipeline


def test_a_second_import_changes_nothing_more():
    before = SimpleNamespace(**vars(DetInferencer))
    mask_dino.compat.repair_det_inference()
    mask_dino.compat.repair_seg_inference(MMSegInferencer, inference)
    assert (
        DetInferencer.visualize is before.visualize and DetInferencer.pred2dict is before.pred2dict
    )


def test_our_changes_can_go_when_the_frameworks_list_only_images_and_all_of_them(photos):
    spec = importlib.util.spec_from_file_location(det_inferencer.__name__, det_inferencer.__file__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    names = fresh.DetInferencer._inputs_to_list(None, str(photos / 'a'))
    assert not any(name.endswith('.JPG') for name in names)
    assert any(
        name.endswith('.txt') for name in BaseInferencer._inputs_to_list(None, str(photos / 'a'))
    )


@pytest.mark.parametrize(
    'image',
    [
        np.full((4, 5, 3), 0.5),
        np.full((4, 5), 300, np.uint16),
        np.full((4, 5, 3), -1.0, np.float32),
        np.full((4, 5, 3), np.nan),
        np.ones((4, 5), bool),
    ],
    ids=lambda image: f'{image.dtype}',
)
def test_values_of_another_range_are_refused(image):
    with pytest.raises(ValueError, match='values from 0 to 255'):
        list_images(image)


@pytest.mark.parametrize(
    'image', [np.full((4, 5, 3), 200.5), np.zeros((4, 5)), np.full((4, 5), 255, np.int64)]
)
def test_numbers_from_0_to_255_of_any_type_are_taken(image):
    assert list_images(image)[0].shape == (4, 5, 3)


def test_other_things_than_paths_and_arrays_are_named():
    for thing in (torch.zeros(3, 4, 5), None, b'photo.jpg'):
        with pytest.raises(TypeError, match=f'not {type(thing).__name__}'):
            list_images([thing])
