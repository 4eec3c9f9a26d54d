import numpy as np
import pytest

pytest.importorskip('onnxruntime')

from helpers.exported import PANOPTIC, SEMANTIC, EagerNetwork, load, read_config, write_image
from mmdet.apis import DetInferencer
from mmengine.registry import DefaultScope
from mmseg.apis import inference_model, init_model
from PIL import Image

from mask_dino.runtime import ImageError, ModelFileError, OnnxNetwork, Segmenter

KEEP_SIZE = dict(type='Resize', scale_factor=1.0)
SHORTEST_EDGE = dict(type='ResizeShortestEdge', scale=72, max_size=100)
KEEP_RATIO = dict(type='Resize', scale=(140, 90), keep_ratio=True)


def inferencer_result(config, folder, image):
    inferencer = DetInferencer(
        config, str(folder / 'weights.pth'), device='cpu', show_progress=False
    )
    return inferencer(str(image), return_datasamples=True, no_save_vis=True)['predictions'][0]


def check_instances(result, expected):
    order = np.lexsort((result.labels, -result.scores.round(5)))
    theirs = np.lexsort((expected.labels, -expected.scores.numpy().round(5)))
    assert len(result.scores) == len(expected.scores) > 0
    assert result.labels[order].tolist() == expected.labels[theirs].tolist()
    np.testing.assert_allclose(result.scores[order], expected.scores[theirs], atol=1e-5)
    np.testing.assert_allclose(result.boxes[order], expected.bboxes[theirs], atol=1e-3)
    masks = expected.masks[theirs].numpy()
    assert 0.01 < masks.mean() < 0.99
    assert (result.masks[order] == masks).mean() > 0.9999


@pytest.mark.parametrize(
    ('resize', 'size'), [(KEEP_SIZE, (70, 100)), (KEEP_RATIO, (61, 83)), (KEEP_RATIO, (300, 170))]
)
def test_results_are_those_of_mmdets_inferencer(tmp_path, resize, size):
    config = read_config(PANOPTIC, model__test_cfg__iou_thr=0.05)
    config.test_dataloader.dataset.pipeline[1] = resize
    trained = load(config, tmp_path)
    image = write_image(tmp_path / 'image.jpg', *size)
    result = Segmenter(EagerNetwork(trained))(image)
    expected = inferencer_result(config, tmp_path, image)
    check_instances(result, expected.pred_instances)
    panoptic = expected.pred_panoptic_seg.sem_seg[0].numpy()
    assert len(np.unique(panoptic)) > 1
    assert (result.panoptic == panoptic).mean() > 0.999
    assert (result.semantic == expected.pred_sem_seg.sem_seg[0].numpy()).mean() > 0.999
    assert result.names == [trained.classes[label] for label in result.labels]


@pytest.mark.parametrize('tasks', [('instance',), ('detection',), ('instance', 'panoptic')])
def test_instances_do_not_depend_on_the_other_tasks(tmp_path, trained, tasks):
    image = write_image(tmp_path / 'image.png', 64, 90)
    every = Segmenter(EagerNetwork(trained))(image)
    some = Segmenter(EagerNetwork(trained, tasks=tasks))(image)
    np.testing.assert_allclose(some.scores, every.scores, atol=1e-6)
    assert some.labels.tolist() == every.labels.tolist()
    assert (some.masks is None) == (tasks == ('detection',))
    assert (some.panoptic is None) == ('panoptic' not in tasks)
    assert some.semantic is None
    if some.masks is not None:
        assert (some.masks == every.masks).mean() > 0.9999


@pytest.mark.parametrize('ranked_alone', [True, False])
def test_stuff_is_no_instance(tmp_path, ranked_alone):
    settings = dict(model__test_cfg__nms_iou=None)  # which leaves out things
    config = read_config(PANOPTIC, model__test_cfg__rank_things_alone=ranked_alone, **settings)
    trained = load(config, tmp_path)
    image = write_image(tmp_path / 'image.png', 64, 64)
    result = Segmenter(EagerNetwork(trained))(image)
    check_instances(result, inferencer_result(config, tmp_path, image).pred_instances)
    is_full = len(result.labels) == config.model.test_cfg.max_per_image
    assert is_full == ranked_alone


WHOLE = dict(mode='whole')
SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(40, 48))


@pytest.mark.parametrize(
    ('mode', 'resize'), [(WHOLE, SHORTEST_EDGE), (SLIDE, SHORTEST_EDGE), (SLIDE, KEEP_SIZE)]
)
def test_semantic_maps_are_those_of_mmseg(tmp_path, mode, resize):
    config = read_config(SEMANTIC, model__test_cfg=mode)
    config.test_dataloader.dataset.pipeline[1] = resize
    config.test_pipeline[1] = resize  # which mmseg's inference reads
    image = write_image(tmp_path / 'image.jpg', 90, 131)
    result = Segmenter(EagerNetwork(load(config, tmp_path)))(image)
    with DefaultScope.overwrite_default_scope('mmseg'):
        expected = inference_model(
            init_model(config, str(tmp_path / 'weights.pth'), 'cpu'), str(image)
        )
    expected = expected.pred_sem_seg.data[0].numpy()
    assert len(np.unique(expected)) > 2
    assert (result.semantic == expected).mean() > 0.999
    assert result.boxes is None and result.names == []


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Return a panoptic model that takes images at their own size."""
    config = read_config(PANOPTIC)
    config.test_dataloader.dataset.pipeline[1] = KEEP_SIZE
    return load(config, tmp_path_factory.mktemp('trained'))


def test_a_batch_gives_what_single_images_give(tmp_path, trained):
    network = EagerNetwork(trained, tasks=('instance',))
    images = [write_image(tmp_path / f'{i}.png', 64, 96) for i in range(3)]
    segmenter = Segmenter(network)
    single = [segmenter(image) for image in images]
    network.sizes.clear()
    together = segmenter(images, batch_size=2)
    assert [size[0] for size in network.sizes] == [2, 1]
    for one, other in zip(single, together, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


@pytest.mark.parametrize(('embedded', 'batches'), [(False, [3]), (True, [1, 1, 1])])
def test_images_of_several_sizes_share_a_batch_where_they_can_be_padded(
    tmp_path, trained, embedded, batches
):
    images = [write_image(tmp_path / f'{height}.png', height, 96) for height in (64, 60, 33)]
    network = EagerNetwork(trained, tasks=('detection',), embedded=embedded)
    results = Segmenter(network)(images, batch_size=3)
    assert [size[0] for size in network.sizes] == batches
    assert [result.image.shape[0] for result in results] == [64, 60, 33]


def test_arrays_files_and_pillow_images_give_the_same(tmp_path, trained):
    segmenter = Segmenter(EagerNetwork(trained, tasks=('detection',)))
    path = write_image(tmp_path / 'image.png', 50, 70)
    by_path = segmenter(path)
    assert by_path.scores.tolist() == segmenter(by_path.image).scores.tolist()
    assert by_path.scores.tolist() == segmenter(Image.fromarray(by_path.image)).scores.tolist()


def test_embedded_preprocessing_gives_the_same(tmp_path, trained):
    image = write_image(tmp_path / 'image.png', 50, 70)
    plain = Segmenter(EagerNetwork(trained))(image)
    network = EagerNetwork(trained, embedded=True)
    embedded = Segmenter(network)(image)
    assert network.sizes == [(1, 50, 70, 3)]
    assert (plain.semantic == embedded.semantic).mean() > 0.999


def test_a_static_model_names_the_sizes(tmp_path, trained):
    network = EagerNetwork(trained, static=True, size=(64, 96), tasks=('detection',))
    segmenter = Segmenter(network)
    segmenter([write_image(tmp_path / 'small.png', 50, 70)] * 2, batch_size=2)
    assert network.sizes == [(1, 3, 64, 96)] * 2
    with pytest.raises(ImageError, match=r'97 x 64 .*64 x 96'):
        segmenter(write_image(tmp_path / 'large.png', 97, 64))


def test_images_that_would_have_no_height_are_named(tmp_path):
    config = read_config(PANOPTIC)
    config.test_dataloader.dataset.pipeline[1] = KEEP_RATIO
    network = EagerNetwork(load(config, tmp_path), tasks=('detection',))
    with pytest.raises(ImageError, match=r'1000 x 2 pixels .* too long and narrow'):
        Segmenter(network)(np.zeros((2, 1000, 3), np.uint8))


@pytest.mark.parametrize('model', [None, 5, b'model.onnx', ['model.onnx'], Segmenter])
def test_what_is_no_model_is_refused_by_its_type(model):
    with pytest.raises(TypeError, match=r'model has the type .*: give the path of a file'):
        Segmenter(model)


NO_COUNTS = pytest.mark.parametrize(
    ('value', 'error'),
    [
        (1.5, TypeError),
        ('2', TypeError),
        (True, TypeError),
        (float('nan'), TypeError),
        (0, ValueError),
        (-1, ValueError),
    ],
)


@NO_COUNTS
@pytest.mark.parametrize('name', ['threads', 'max_pixels'])
def test_counts_are_whole_numbers_from_one_on(trained, name, value, error):
    network = EagerNetwork(trained, tasks=('detection',))
    with pytest.raises(error, match=f'{name}={value!r} must be'):
        Segmenter(network, **{name: value})


@NO_COUNTS
def test_batches_have_whole_numbers_of_images(trained, value, error):
    network = EagerNetwork(trained, tasks=('detection',))
    image = np.zeros((64, 64, 3), np.uint8)
    for images in (image, [image, image], []):
        with pytest.raises(error, match=f'batch_size={value!r} must be'):
            Segmenter(network)(images, batch_size=value)
    assert network.sizes == []


def test_more_threads_than_a_machine_has_are_refused():
    with pytest.raises(ValueError, match='threads=10000 must be at most 1024'):
        OnnxNetwork('model.onnx', threads=10_000)


@pytest.mark.parametrize('images', ['image.png', np.zeros((64, 64, 3), np.uint8), None])
def test_results_of_many_images_need_a_list(trained, images):
    with pytest.raises(TypeError, match=r'images has the type .*: give a list'):
        Segmenter(EagerNetwork(trained)).results(images)


@pytest.mark.parametrize(
    ('score', 'error'), [('0.5', TypeError), (None, TypeError), (float('nan'), ValueError)]
)
def test_pictures_need_a_number_as_threshold(trained, score, error):
    result = Segmenter(EagerNetwork(trained, tasks=('detection',)))(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(error, match=r'score_thr=.* must be'):
        result.draw(score)


def test_raw_files_are_refused(trained):
    with pytest.raises(ModelFileError, match='--raw'):
        Segmenter(EagerNetwork(trained, raw=True))


def test_a_picture_has_a_part_for_each_kind_of_result(tmp_path, trained):
    result = Segmenter(EagerNetwork(trained))(write_image(tmp_path / 'a.png', 64, 80))
    assert result.draw().shape == (64, 240, 3)
    shown, hidden = result.draw(score_thr=0.0), result.draw(score_thr=1.1)
    assert (shown[:, :80] != result.image).any()
    assert (hidden[:, :80] == result.image).all()
