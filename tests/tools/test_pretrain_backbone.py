"""A backbone that was trained on crops fits its detector, and an interruption changes nothing."""

from pathlib import Path

import pytest
import torch
from misc import pretrain_backbone
from mmdet.registry import MODELS
from mmengine.config import Config

from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes
from mask_dino.pretraining.classifier import BackboneClassifier

CONFIG = """
_base_ = '{base}'
model = dict(backbone=dict(base_channels=8))
"""
STEPS = 3


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small config and its data; return the path of the config."""
    base = Path('configs/maskdino/maskdino_tiny_shapes-panoptic.py').resolve()
    monkeypatch.chdir(tmp_path)
    write_shapes(World(train=6, val=3, size=64), Path('data/shapes'))
    path = Path('config.py')
    path.write_text(CONFIG.format(base=base))
    return path


def pretrain(config: Path, out: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Run the tool, and return the weights that it wrote."""
    options = f'{config} {out} --processes 1 --steps {STEPS} --images 2 --size 32'
    monkeypatch.setattr('sys.argv', ['pretrain_backbone.py', *options.split()])
    pretrain_backbone.main()
    return torch.load(out, weights_only=True)['state_dict']


def test_a_detector_starts_from_the_backbone(config, monkeypatch, capsys):
    weights = pretrain(config, 'backbone.pth', monkeypatch)
    assert 'of the objects of the validation data right' in capsys.readouterr().out
    backbone = Config.fromfile(config).model.backbone
    backbone.init_cfg = dict(type='Pretrained', checkpoint='backbone.pth')
    model = MODELS.build(backbone)
    model.init_weights()
    state = model.state_dict()
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[name], weights[name]) for name in state)


def test_an_interrupted_training_goes_on_and_ends_with_the_same_weights(config, monkeypatch):
    expected = pretrain(config, 'whole.pth', monkeypatch)
    train_step = BackboneClassifier.train_step
    steps = iter(range(STEPS))

    def interrupt(self, *args, **kwargs):
        if next(steps) == 1:
            raise KeyboardInterrupt
        return train_step(self, *args, **kwargs)

    monkeypatch.setattr(BackboneClassifier, 'train_step', interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, 'stopped.pth', monkeypatch)
    assert not Path('stopped.pth').exists()
    monkeypatch.setattr(BackboneClassifier, 'train_step', train_step)
    resumed = pretrain(config, 'stopped.pth', monkeypatch)
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def test_what_is_trained_already_is_not_trained_again(config, monkeypatch, capsys):
    Path('backbone.pth').touch()
    options = ['pretrain_backbone.py', str(config), 'backbone.pth']
    monkeypatch.setattr('sys.argv', options)
    pretrain_backbone.main()
    assert 'is there already' in capsys.readouterr().out
