"""The command that makes a Mask DINO of a detector."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers.originals import CLASSES, config
from mmengine.config import Config

from mask_dino.checkpoints.dino_names import MMDET, list_extra_levels
from mask_dino.checkpoints.io import build_model
from mask_dino.checkpoints.maskdino_names import rename_tensors

TOOL = Path(__file__).parents[2] / 'tools' / 'model_converters' / 'dino_to_maskdino.py'
NUM_LAYERS = 2


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; return what it printed, or the message that it ended with."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            return str(end.code)
        return capsys.readouterr().out

    return run


@pytest.fixture
def files(tmp_path):
    """A config, the detector that its model would be made of, and where to write."""
    queries = dict(boxes_from_masks=False, learned_content=True, separate_branches=True)
    settings = config(queries=queries)
    settings.dump(tmp_path / 'config.py')
    ours = {
        name.removeprefix('panoptic_head.'): v
        for name, v in build_model(settings).state_dict().items()
    }
    pairs = [*MMDET.backbone, *MMDET.list_names(NUM_LAYERS)]
    extra = list_extra_levels(['neck.extra_convs.0.conv.weight'], 3)
    detector = rename_tensors(ours, [pair.reverse() for pair in [*extra, *pairs]]).state
    torch.save(dict(state_dict=detector, meta=dict(classes=CLASSES)), tmp_path / 'dino.pth')
    return tmp_path / 'dino.pth', tmp_path / 'out.pth', tmp_path / 'config.py'


def test_it_says_what_is_taken(run, files):
    source, destination, settings = files
    printed = run(source, destination, '--config', settings)
    assert 'panoptic_head.decoder: ' in printed and f'wrote {destination}' in printed
    taken, total = printed.split('panoptic_head.prediction: ')[1].split(' tensors')[0].split(' of ')
    assert int(taken) < int(total), 'the mask branch is new'
    assert 'pixel_decoder.temperature=20' in printed and 'learned_content' not in printed
    checkpoint = torch.load(destination, weights_only=True)
    assert checkpoint['meta']['dataset_meta']['classes'] == CLASSES
    build_model(Config.fromfile(settings)).load_state_dict(checkpoint['state_dict'])


def test_what_is_no_detector_is_refused(run, files, tmp_path):
    _, destination, settings = files
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), tmp_path / 'other.pth')
    assert 'no DINO' in run(tmp_path / 'other.pth', destination, '--config', settings)
    assert not destination.exists()
