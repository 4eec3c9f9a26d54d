"""The command that converts checkpoints."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.originals import CLASSES, config, state_for
from mmdet.apis import DetInferencer, inference_detector, init_detector

from mask_dino.checkpoints import CheckpointError, load_checkpoint_safely
from mask_dino.checkpoints.io import build_model, compute_fingerprint

TOOL = Path(__file__).parents[2] / 'tools' / 'model_converters' / 'maskdino_to_mmdet.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location(TOOL.stem, TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tool, monkeypatch, capsys):
    """Run the command; return what it printed, or the message that it ended with."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        try:
            tool.main()
        except SystemExit as end:
            return str(end.code)
        return capsys.readouterr().out

    return run


@pytest.fixture
def files(tmp_path):
    """A config, an original checkpoint for it, and where to write."""
    settings = config()
    settings.dump(tmp_path / 'config.py')
    torch.save({'model': state_for(build_model(settings))}, tmp_path / 'original.pth')
    return tmp_path / 'config.py', tmp_path / 'original.pth', tmp_path / 'out' / 'converted.pth'


def test_with_a_config(run, files):
    settings, source, destination = files
    printed = run(source, destination, '--config', settings)
    assert 'ignored, without a place in the model (1): criterion.empty_weight' in printed
    assert 'derived from the config: nothing' in printed
    assert 'queries.boxes_from_masks=True, queries.pixel_exact=False' in printed
    assert (
        'levels in the file: fine to coarse (low2high), as the channels of their projections show'
        in printed
    )
    assert f'wrote {destination}' in printed
    detector = init_detector(str(settings), str(destination), device='cpu')
    assert detector.dataset_meta['classes'] == CLASSES
    found = inference_detector(detector, np.zeros((64, 96, 3), np.uint8)).pred_instances
    assert len(found) == detector.test_cfg.max_per_image
    assert found.masks.shape[1:] == (64, 96)
    # The file alone is enough, as the page on released checkpoints says.
    alone = DetInferencer(weights=str(destination), device='cpu')
    again = alone(np.zeros((64, 96, 3), np.uint8), return_datasamples=True)['predictions'][
        0
    ].pred_instances
    assert torch.equal(again.bboxes, found.bboxes)


def test_config_is_chosen_by_the_tensors(run, files, tool, monkeypatch):
    settings, source, destination = files
    monkeypatch.setattr(tool, 'CONFIGS', settings.parent)
    printed = run(source, destination)
    assert 'architecture: ResNet of 3-4-6-3 blocks; 4 encoder levels' in printed
    assert f'config: {settings}, the only one for this architecture' in printed
    assert destination.exists()


def test_published_configs_are_the_choice(tool):
    assert (tool.CONFIGS / 'maskdino_r50_8xb2-lsj-50e_coco.py').is_file()


@pytest.mark.parametrize('form', ['float16', 'safetensors'])
def test_other_forms_of_a_checkpoint(run, files, form):
    """Half precision comes out as float32; a file of safetensors is what it holds."""
    settings, source, destination = files
    state = torch.load(source)['model']
    if form == 'float16':
        state = {name: value.half() for name, value in state.items()}
        torch.save({'model': state}, source)
    else:
        library = pytest.importorskip('safetensors.torch', reason='safetensors is optional')
        source = source.with_suffix('.safetensors')
        library.save_file({name: value.clone() for name, value in state.items()}, source)
    assert f'wrote {destination}' in run(source, destination, '--config', settings)
    converted = torch.load(destination)['state_dict']
    name = 'sem_seg_head.predictor.class_embed.weight'
    assert converted['panoptic_head.prediction.class_embed.weight'].equal(state[name].float())
    assert {value.dtype for value in converted.values()} == {torch.float32}


@pytest.mark.parametrize(
    'reason',
    ['missing', 'truncated', 'text', 'no config', 'another config', 'no model', 'unknown tensor'],
)
def test_failures_name_the_file_and_leave_nothing(run, files, reason):
    settings, source, destination = files
    options = ['--config', settings]
    if reason == 'missing':
        source.unlink()
    elif reason == 'truncated':
        source.write_bytes(source.read_bytes()[:-1000])
    elif reason == 'text':
        source.write_text('<html>not found</html>')
    elif reason == 'no config':
        options = []
    elif reason == 'another config':
        settings.write_text("model = dict(type='mmdet.ResNet', depth=18)")
    elif reason == 'no model':
        settings.write_text('x = 1')
    else:
        state = torch.load(source)
        torch.save({'model': state['model'] | {'surprise': torch.zeros(1)}}, source)
    message = run(source, destination, *options)
    assert message.startswith('error: ') and str(source) in message
    assert not destination.parent.exists()


def test_safetensors_hold_all_that_inference_needs(run, files):
    pytest.importorskip('safetensors', reason='safetensors is optional')
    settings, source, destination = files
    written = destination.with_suffix('.safetensors')
    run(source, destination, '--config', settings)
    printed = run(source, written, '--config', settings, '--verify')
    assert f'wrote {written}' in printed and 'verified' in printed
    pth, again = load_checkpoint_safely(destination), load_checkpoint_safely(written)
    assert again['state_dict'].keys() == pth['state_dict'].keys()
    assert all(value.equal(pth['state_dict'][name]) for name, value in again['state_dict'].items())
    assert again['meta']['cfg'] == pth['meta']['cfg']
    inferencer = DetInferencer(weights=str(written), device='cpu')
    assert tuple(inferencer.model.dataset_meta['classes']) == CLASSES
    assert set(written.parent.iterdir()) == {destination, written}


def test_destination_is_a_folder(run, files):
    settings, source, destination = files
    destination.mkdir(parents=True)
    assert 'is a folder' in run(source, destination, '--config', settings)


def test_destination_is_the_source(run, files):
    settings, source, _ = files
    before = source.read_bytes()
    assert 'the same file' in run(source, source, '--config', settings)
    assert source.read_bytes() == before


def test_destination_below_a_file(run, files):
    settings, source, _ = files
    message = run(source, settings / 'converted.pth', '--config', settings)
    assert message.startswith('error: ') and str(settings) in message


def test_destination_is_overwritten(run, files):
    settings, source, destination = files
    destination.parent.mkdir()
    destination.write_text('old')
    run(source, destination, '--config', settings)
    assert 'state_dict' in torch.load(destination, weights_only=True)
    assert list(destination.parent.iterdir()) == [destination]


def test_the_written_file_is_verified(run, files):
    settings, source, destination = files
    line = run(source, destination, '--config', settings, '--verify').splitlines()[-1]
    assert line.startswith('verified, mean magnitudes on a seeded image: logits (1, 20, 5) ')
    assert run(source, destination, '--config', settings, '--verify').splitlines()[-1] == line
    broken = torch.load(destination, weights_only=True)
    del broken['state_dict']['backbone.conv1.weight']
    torch.save(broken, destination)
    with pytest.raises(
        CheckpointError, match=r'(?s)does not fit its config.*backbone\.conv1\.weight'
    ):
        compute_fingerprint(destination)
