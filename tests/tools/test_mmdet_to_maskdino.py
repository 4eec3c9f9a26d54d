"""The command that converts checkpoints back."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from helpers.originals import config, state_for

from mask_dino.checkpoints.io import build_model, make_checkpoint, write_checkpoint
from mask_dino.checkpoints.maskdino import from_original

TOOL = Path(__file__).parents[2] / 'tools' / 'model_converters' / 'mmdet_to_maskdino.py'


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
def converted(tmp_path):
    """A converted checkpoint, and what it was made of."""
    settings = config()
    model = build_model(settings)
    original = state_for(model)
    path = tmp_path / 'ours.pth'
    write_checkpoint(
        make_checkpoint(settings, from_original(original, model).state, Path('original.pth')), path
    )
    return path, original


def test_the_config_in_the_file_is_enough(run, converted, tmp_path):
    path, original = converted
    printed = run(path, tmp_path / 'back.pth')
    assert 'left out, because the original derives it: 0 buffers' in printed
    restored = torch.load(tmp_path / 'back.pth', weights_only=True)['model']
    assert all(value.equal(original[name]) for name, value in restored.items())
    # The published names are those of nine decoder layers, of which this model has two.
    missing = {name for name in original.keys() - restored.keys() if 'bbox_embed' not in name}
    assert missing == {'criterion.empty_weight'}


def test_what_cannot_be_converted_is_said(run, converted, tmp_path):
    path, original = converted
    torch.save(dict(model=original), tmp_path / 'original.pth')
    assert 'has no state_dict' in run(tmp_path / 'original.pth', tmp_path / 'back.pth')
    torch.save(
        dict(state_dict=torch.load(path, weights_only=True)['state_dict']), tmp_path / 'bare.pth'
    )
    assert 'give it with --config' in run(tmp_path / 'bare.pth', tmp_path / 'back.pth')
    assert 'same file' in run(path, path)
    assert not (tmp_path / 'back.pth').exists()
