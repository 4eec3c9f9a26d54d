"""The tools that draw layers and results, called as from the command line."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from analysis_tools import browse_predictions, inspect_layers
from helpers.exported import PANOPTIC, read_config, save_weights
from helpers.inspected import SMALL, small_mask2former
from PIL import Image

from mask_dino.checkpoints.io import make_checkpoint
from mask_dino.datasets.shapes import World
from mask_dino.datasets.shapes.write import write_shapes

SETTINGS = [f'{key.replace("__", ".")}={value}'.replace(' ', '') for key, value in SMALL.items()]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder with Shapes, a Mask DINO and a Mask2Former, both with random weights."""
    folder = tmp_path_factory.mktemp('layers')
    write_shapes(World(train=1, val=3, size=64), folder / 'shapes')
    config = read_config(PANOPTIC, **SMALL)
    save_weights(config, folder / 'weights.pth')
    model = small_mask2former()
    model.cfg.dump(folder / 'other.py')
    torch.save(make_checkpoint(model.cfg, model.state_dict(), Path('random')), folder / 'other.pth')
    return folder


def run(monkeypatch, tool, *arguments):
    """Run a tool; return its exit status."""
    monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
    try:
        tool.main()
    except SystemExit as end:
        return end.code or 0
    return 0


def options(folder):
    """Return the settings of the model and of its data."""
    data = folder / 'shapes'
    dataset = 'test_dataloader.dataset'
    return ['--cfg-options', *SETTINGS, f'{dataset}.data_root={data}/', f'{dataset}.data_prefix.img={data}/val/',
            f'{dataset}.data_prefix.seg={data}/panoptic_val/',
            f'{dataset}.ann_file={data}/annotations/panoptic_val.json']  # fmt: skip


def model(folder):
    return f'configs/maskdino/{PANOPTIC}', folder / 'weights.pth'


def test_images_are_drawn_and_measured_beside_another_model(folder, tmp_path, monkeypatch, capsys):
    status = run(
        monkeypatch, inspect_layers, *model(folder), '--index', 0, '--beside', folder / 'other.py',
        folder / 'other.pth', '--measure', '--max-images', 2, '--out-dir', tmp_path, *options(folder),
    )  # fmt: skip
    assert status == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    stem = names[0].partition('_layers')[0]
    assert names == [f'{stem}_layers.html', f'{stem}_layers.png', 'layers.json', 'layers.png']
    page = (tmp_path / names[0]).read_text()
    data = json.loads(re.search(r'json">(.*?)</script>', page, re.DOTALL).group(1))
    assert [entry['name'] for entry in data['models']] == ['MaskDINO', 'Mask2Former']
    assert data['layers'] == ['encoder', 'layer 0', 'layer 1', 'layer 2', 'layer 3']
    measured = json.loads((tmp_path / 'layers.json').read_text())
    assert [entry['num_images'] for entry in measured] == [2, 2]
    assert 'mask IoU' in capsys.readouterr().out


def test_files_are_drawn_with_and_without_annotations(folder, tmp_path, monkeypatch, capsys):
    image = sorted((folder / 'shapes' / 'val').iterdir())[0]
    copy = tmp_path / image.name
    copy.write_bytes(image.read_bytes())
    annotations = folder / 'shapes' / 'annotations' / 'panoptic_val.json'
    arguments = (*model(folder), copy)
    for number, more in enumerate((['--query', 3, 5], ['--ann-file', annotations])):
        out = tmp_path / str(number)
        assert (
            run(monkeypatch, inspect_layers, *arguments, *more, '--out-dir', out, *options(folder))
            == 0
        )
        with Image.open(out / f'{copy.stem}_layers.png') as picture:
            assert picture.width > 5 * 240
    assert 'queries 3, 5;' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'give an IMAGE'),
        (['x.png', '--query', '1', '--index', '0'], 'leave one out'),
        (['x.png', '--top-k', '0'], '--top-k 0'),
        (['x.png', '--query', '99'], 'no query 99'),
        (['none.png'], 'none.png does not exist'),
        (['--index', '3'], 'the images 0 to 2'),
        (['x.png', '--ann-file', 'none.json'], 'none.json does not exist'),
    ],
)
def test_wrong_arguments_are_named(folder, tmp_path, monkeypatch, capsys, arguments, message):
    Image.new('RGB', (64, 48)).save(tmp_path / 'x.png')
    paths = [str(tmp_path / text) if text == 'x.png' else text for text in arguments]
    status = run(
        monkeypatch, inspect_layers, *model(folder), *paths, '--out-dir', tmp_path / 'out',
        *options(folder),
    )  # fmt: skip
    said = capsys.readouterr().err + str(status)
    assert status not in (0, None)
    assert message in said
    assert not (tmp_path / 'out').exists()


def test_a_missing_checkpoint_is_named(folder, monkeypatch):
    status = run(monkeypatch, inspect_layers, model(folder)[0], 'none.pth', 'x.png')
    assert 'none.pth' in str(status)


def test_the_worst_and_the_best_images_are_drawn(folder, tmp_path, monkeypatch, capsys):
    status = run(
        monkeypatch, browse_predictions, *model(folder), '--count', 1, '--out-dir', tmp_path,
        *options(folder),
    )  # fmt: skip
    assert status == 0
    index = (tmp_path / 'index.html').read_text()
    for task in ('instances', 'panoptic', 'semantic'):
        rated = json.loads((tmp_path / f'{task}.json').read_text())
        assert len(rated) == 3
        qualities = [one['quality'] for one in rated]
        assert qualities == sorted(qualities)
        pictures = sorted((tmp_path / task).iterdir())
        assert [path.name.partition('_')[0] for path in pictures] == ['best', 'worst']
        assert pictures[1].stem.endswith(Path(rated[0]['path']).stem)
        assert f'{task}/{pictures[0].name}' in index
        with Image.open(pictures[0]) as picture:
            assert picture.width > 3 * 480
    assert 'mean quality' in capsys.readouterr().out
