"""Files of every kind are written, compared with the model and read back; up to a minute each."""

import numpy as np
import pytest
import torch

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

from helpers.exported import PANOPTIC, SEMANTIC, EagerNetwork, load, read_config, write_image

from mask_dino.export.exporter import Options, ParityError, export_model
from mask_dino.export.formats import TorchNetwork, open_network
from mask_dino.runtime import ImageError, ModelFileError, Segmenter

pytestmark = pytest.mark.slow

# The smallest network that has every part.
SMALL = dict(
    model__backbone__base_channels=8,
    model__panoptic_head__pixel_decoder__in_channels=[8, 16, 32, 64],
    model__panoptic_head__pixel_decoder__num_layers=1,
    model__panoptic_head__decoder__num_layers=1,
)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return load(read_config(PANOPTIC, **SMALL), tmp_path_factory.mktemp('trained'))


@pytest.fixture(scope='module')
def trained_swin(tmp_path_factory):
    """Return a model with shifted windows in one stage, and positions that do not start at zero."""
    config = read_config(PANOPTIC, **SMALL)
    swin = dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8])
    config.model.backbone = dict(type='SwinTransformer', **swin)
    config.test_dataloader.dataset.pipeline[1] = dict(type='Resize', scale_factor=1.0)
    trained = load(config, tmp_path_factory.mktemp('swin'))
    for name, weight in trained.model.backbone.named_parameters():
        if name.endswith('relative_position_bias_table'):
            torch.nn.init.normal_(weight)
    return trained


def say_nothing(text):
    pass


def test_static_raw_files_have_the_predictions_of_all_queries(tmp_path, trained):
    options = Options(raw=True, static=True, size=(64, 96))
    info = export_model(trained, tmp_path / 'model.onnx', options, say_nothing)
    assert info.input.static == (1, 64, 96)
    outputs = open_network(tmp_path / 'model.onnx', 'onnx').run(
        np.zeros((1, 3, 64, 96), np.float32)
    )
    shapes = {name: value.shape for name, value in outputs.items()}
    queries = trained.head.queries.num_queries
    assert shapes == dict(logits=(1, queries, 8), boxes=(1, queries, 4), masks=(1, queries, 16, 24))
    with pytest.raises(ModelFileError, match='--raw'):
        Segmenter(tmp_path / 'model.onnx')


def test_static_files_refuse_larger_images(tmp_path):
    names = {name.replace('panoptic_head', 'decode_head'): value for name, value in SMALL.items()}
    config = read_config(SEMANTIC, **names)
    config.test_dataloader.dataset.pipeline[1] = dict(type='Resize', scale_factor=1.0)
    trained = load(config, tmp_path)
    options = Options(static=True, size=(64, 64))
    export_model(trained, tmp_path / 'model.onnx', options, say_nothing)
    segmenter = Segmenter(tmp_path / 'model.onnx')
    image = write_image(tmp_path / 'image.png', 50, 64)
    expected = Segmenter(EagerNetwork(trained, static=True, size=(64, 64)))(image)
    assert (segmenter(image).semantic == expected.semantic).mean() > 0.99
    with pytest.raises(ImageError, match='--static'):
        segmenter(write_image(tmp_path / 'long.png', 50, 640))


def test_programs_of_torch_take_any_size(tmp_path, trained):
    options = Options(format='torch', size=(64, 96), tasks=('detection',))
    export_model(trained, tmp_path / 'model.pt2', options, say_nothing)
    segmenter = Segmenter(TorchNetwork(tmp_path / 'model.pt2'))
    image = write_image(tmp_path / 'image.png', 90, 50)
    expected = Segmenter(EagerNetwork(trained, tasks=('detection',)))(image)
    np.testing.assert_allclose(segmenter(image).scores, expected.scores, atol=1e-4)
    whole = (tmp_path / 'model.pt2').read_bytes()
    (tmp_path / 'cut.pt2').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match=r'cut\.pt2'):
        TorchNetwork(tmp_path / 'cut.pt2')


@pytest.mark.parametrize(
    ('size', 'options'), [((200, 90), dict(embedded=True)), ((64, 90), dict(static=True))]
)
def test_windows_of_swin_cover_every_image(tmp_path, trained_swin, size, options):
    options = Options(size=(64, 96), tasks=('instance',), **options)
    export_model(trained_swin, tmp_path / 'model.onnx', options, say_nothing)
    segmenter = Segmenter(tmp_path / 'model.onnx')
    eager = Segmenter(EagerNetwork(trained_swin, **options._asdict()))
    images = [write_image(tmp_path / 'image.png', *size), write_image(tmp_path / '2.png', 50, 75)]
    for image in images:
        result, expected = segmenter(image), eager(image)
        np.testing.assert_allclose(result.scores, expected.scores, atol=1e-4)
        assert (result.masks == expected.masks).mean() > 0.999


def test_no_file_remains_where_an_export_fails(tmp_path, trained):
    options = Options(format='torch', static=True, size=(64, 64), tolerance=-1.0)
    with pytest.raises(ParityError, match='--tolerance'):
        export_model(trained, tmp_path / 'model.pt2', options, say_nothing)
    assert list(tmp_path.iterdir()) == []


def test_files_that_prepare_images_take_bytes_of_any_size(tmp_path, trained):
    options = Options(embedded=True, size=(64, 96), tasks=('detection',))
    export_model(trained, tmp_path / 'model.onnx', options, say_nothing)
    image = write_image(tmp_path / 'image.png', 90, 50)
    result = Segmenter(tmp_path / 'model.onnx')(image)
    expected = Segmenter(EagerNetwork(trained, tasks=('detection',)))(image)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-3)
