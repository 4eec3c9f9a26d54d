"""The front door, with a data set and a training a hundred times smaller."""

import re
from pathlib import Path

import make_demo as demo
import pytest
import torch

from mask_dino.checkpoints import load_checkpoint_safely
from mask_dino.datasets.shapes import World

CONFIG = """
_base_ = '{base}'
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False, end=2000)]
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
custom_hooks = [dict(type='ProgressHook', interval=1)]
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the demo in a folder of its own; return its working directory."""
    root = Path.cwd()
    (tmp_path / 'tools').symlink_to(root / 'tools')
    (tmp_path / 'config.py').write_text(CONFIG.format(base=root / demo.CONFIG))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, 'CONFIG', Path('config.py'))
    monkeypatch.setattr(demo, 'WORLD', World(train=16, val=4))
    monkeypatch.setattr(demo, 'PICTURES', range(4))
    monkeypatch.setattr(demo, 'LINES', 2)
    monkeypatch.setattr(demo, 'BACKBONE_STEPS', 2)
    monkeypatch.setattr(demo, 'STEPS', 4)
    return demo.WORK_DIR


def test_the_demo_trains_tests_and_draws_and_does_not_train_twice(small, capsys):
    demo.main()
    first, errors = capsys.readouterr()
    assert 'mmengine' not in errors
    assert len(first.splitlines()) < 40
    assert [line[:5] for line in first.splitlines() if line.startswith('[')] == [
        '[1/5]',
        '[2/5]',
        '[3/5]',
        '[4/5]',
        '[5/5]',
    ]
    assert 'step 4/4' in first
    for metric in ('box AP', 'mask AP', 'PQ', 'mIoU'):
        assert metric in first
    assert (small / 'weights.pth').is_file()
    check_backbone(small)
    assert 'Loads checkpoint' in (small / 'evaluation.log').read_text()
    page = (small / 'index.html').read_text()
    assert not re.search(r'(https?|file)://', page)  # it needs no network
    assert page.count('<figcaption>ground truth') == page.count('<figcaption>semantic map') == 4
    for part in ('Box AP', 'mIoU', 'Losses and metrics over the steps', 'srcdoc='):
        assert part in page
    assert re.search(r'at its end: .*mask .*Box AP', page)
    demo.main()
    assert 'done already' in capsys.readouterr().out


def check_backbone(folder: Path) -> None:
    """Compare the backbone that the detector started from with its own after four steps."""
    start = torch.load(folder / 'backbone.pth', weights_only=True)['state_dict']
    end = load_checkpoint_safely(folder / 'weights.pth')['state_dict']
    change = (end['backbone.conv1.weight'] - start['conv1.weight']).abs().max()
    assert 0 < change < 0.01


def test_a_failed_training_shows_the_end_of_its_log(small, monkeypatch):
    Path('config.py').write_text(
        Path('config.py').read_text() + 'model = dict(backbone=dict(depth=19))\n'
    )
    with pytest.raises(SystemExit, match='depth 19'):
        demo.main()
    assert not (small / 'weights.pth').exists()
