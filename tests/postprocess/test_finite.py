"""Predictions that are no numbers never become results, whichever metric would read them."""

import pytest
import torch
from helpers import tiny
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS as SEG_MODELS
from mmseg.structures import SegDataSample

from mask_dino.messages import PredictionError
from mask_dino.postprocess import check_finite
from mask_dino.structures import QueryPredictions

SWITCHES = ('instance_on', 'panoptic_on', 'semantic_on', 'stuff_on')
META = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), (64, 64))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('kind', SWITCHES)
@pytest.mark.parametrize('field', ['logits', 'boxes', 'masks'])
def test_no_kind_of_result_is_made_of_them(field, kind, value):
    test_cfg = Config.fromfile('configs/_base_/models/maskdino_r50.py').model.test_cfg
    test_cfg.update({name: name == kind for name in SWITCHES})
    head = dict(type='mmdet.MaskDINOFusionHead', num_things_classes=3, num_stuff_classes=2)
    fusion = MODELS.build(head | dict(test_cfg=ConfigDict(test_cfg)))
    predictions = QueryPredictions(
        torch.zeros(3, 7, 5), torch.full((3, 7, 4), 0.5), torch.zeros(3, 7, 16, 16)
    )
    samples = [DetDataSample(metainfo=META | dict(img_path=f'photos/{name}.jpg')) for name in 'abc']
    fusion.predict(predictions, samples)
    for image in (1, 2):
        getattr(predictions, field)[image, 4].view(-1)[-1] = value
    with pytest.raises(
        PredictionError, match=rf'photos/b\.jpg: the predicted {field} are NaN or infinite.*lr'
    ):
        fusion.predict(predictions, samples)


def spoil(model: torch.nn.Module) -> torch.nn.Module:
    """Return a model whose training has diverged."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float('nan'))
    return model.eval()


def images(kind: type, count: int = 2) -> dict:
    samples = [
        kind(metainfo=META | dict(img_path=f'photos/{i}.jpg', scale_factor=(1, 1)))
        for i in range(count)
    ]
    return dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)] * count, data_samples=samples)


def test_a_detector_of_nans_is_refused():
    with pytest.raises(
        PredictionError, match=r'photos/0\.jpg: the predicted logits and boxes and masks'
    ):
        spoil(tiny.build()).test_step(images(DetDataSample))


@pytest.mark.parametrize(
    'options', [dict(), dict(mode='slide', crop_size=(32, 32), stride=(32, 32))]
)
def test_a_segmentor_of_nans_is_refused(options):
    init_default_scope('mmseg')
    config = Config.fromfile('configs/_base_/models/maskdino_tiny_semantic.py')
    config.model.test_cfg.update(options)
    with pytest.raises(PredictionError, match=r'photos/0\.jpg: the predicted logits and masks'):
        spoil(SEG_MODELS.build(config.model)).test_step(images(SegDataSample))


def test_whole_numbers_and_nothing_are_finite():
    check_finite(
        'a.jpg',
        dict(labels=torch.ones(3, dtype=torch.int64), inside=torch.ones(2, dtype=torch.bool)),
    )
    check_finite(
        'a.jpg',
        dict(scores=torch.zeros(0), masks=torch.full((2, 3, 4), -3e38), half=torch.ones(2).half()),
    )
