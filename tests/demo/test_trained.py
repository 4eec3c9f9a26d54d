"""A checkpoint behind the page gives the results of the exported model, and shows its layers."""

import numpy as np
import pytest
from helpers.exported import PANOPTIC, SEMANTIC, EagerNetwork, load, read_config, save_weights
from PIL import Image

from mask_dino.demo.findings import View
from mask_dino.demo.session import Session, find_views
from mask_dino.demo.trained import TrainedPredictor
from mask_dino.runtime import Segmenter

VIEWS = {
    PANOPTIC: [View.INSTANCES, View.PANOPTIC, View.SEMANTIC, View.LAYERS],
    SEMANTIC: [View.SEMANTIC, View.LAYERS],
}


@pytest.mark.parametrize('name', [PANOPTIC, SEMANTIC])
def test_both_kinds_of_models_give_the_same_results(tmp_path, name):
    config = read_config(name)
    predictor = TrainedPredictor(config, save_weights(config, tmp_path / 'w.pth'), 'cpu')
    image = np.random.default_rng(0).integers(0, 256, (96, 120, 3), np.uint8)
    trained = predictor.predict(image)
    exported = Segmenter(EagerNetwork(load(config, tmp_path)))(image)
    assert trained.classes == exported.classes and trained.palette == exported.palette
    for field in ('masks', 'panoptic', 'semantic'):
        mine, other = getattr(trained, field), getattr(exported, field)
        assert (mine is None) == (other is None)
        if mine is not None:
            assert mine.shape == other.shape and (mine == other).mean() > 0.99
    if trained.boxes is not None:
        assert np.allclose(trained.boxes, exported.boxes, atol=0.05)
        assert (trained.labels == exported.labels).all()
    assert find_views(predictor) == VIEWS[name]


def test_the_page_shows_the_layers_of_a_checkpoint(tmp_path):
    config = read_config(PANOPTIC)
    predictor = TrainedPredictor(config, save_weights(config, tmp_path / 'w.pth'), 'cpu')
    image = np.random.default_rng(0).integers(0, 256, (96, 120, 3), np.uint8)
    picture = predictor.draw_layers(image)
    assert picture.dtype == np.uint8 and picture.shape[1] > 3 * 120 and picture.std() > 20
    session = Session(predictor, [], tmp_path, 2048)
    Image.fromarray(image).save(tmp_path / 'photo.png')
    _, shown = session.analyse(tmp_path / 'photo.png', View.LAYERS, 0.05, lambda *_: None)
    assert shown.picture is not None and shown.picture.name == 'photo-layers.png'
    assert shown.message.startswith('The best queries in photo')
