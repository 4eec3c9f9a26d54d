import sys

import numpy as np
import pytest

pytest.importorskip('onnxruntime')

from PIL import Image

from mask_dino.runtime import Result
from mask_dino.runtime.__main__ import MAX_JPEG_SIDE, main, write_result


def run(monkeypatch, *arguments):
    """Return the message with which the command ends."""
    monkeypatch.setattr(sys, 'argv', ['mask_dino.runtime', *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return str(ended.value)


def semantic_result(height, width):
    """Return the result of a model that makes semantic maps only."""
    image = np.zeros((height, width, 3), np.uint8)
    semantic = np.zeros((height, width), np.int32)
    return Result(image, ('sky',), ((0, 0, 255),), semantic=semantic)


@pytest.mark.parametrize(
    'option',
    [
        ('--threads', 0),
        ('--threads', -1),
        ('--threads', 1.5),
        ('--threads', 10**15),
        ('--score-thr', 'nan'),
        ('--score-thr', 1.5),
        ('--score-thr', 'high'),
    ],
)
def test_options_outside_of_their_range_are_refused(monkeypatch, capsys, option):
    assert run(monkeypatch, 'model.onnx', 'a.png', '--out-dir', 'results', *option) == '2'
    error = capsys.readouterr().err
    assert f'{option[0]}: {option[1]}' in error


@pytest.mark.parametrize(
    ('name', 'problem'), [('', 'is a folder'), ('none.onnx', 'does not exist')]
)
def test_a_model_that_is_no_file_is_named(monkeypatch, tmp_path, name, problem):
    message = run(monkeypatch, tmp_path / name, 'a.png', '--out-dir', tmp_path / 'results')
    assert f'{tmp_path / name} {problem}' in message
    assert not (tmp_path / 'results').exists()


def test_a_missing_onnxruntime_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    monkeypatch.setattr(sys, 'argv', ['runtime', 'model.onnx', 'a.jpg', '--out-dir', str(tmp_path)])
    with pytest.raises(
        SystemExit, match=r'^error: onnxruntime.* is missing: pip install onnxruntime'
    ):
        main()


def test_a_file_that_cannot_be_written_is_named_and_none_is_left(tmp_path):
    (tmp_path / 'image.semantic.png').mkdir()
    with pytest.raises(OSError, match=r'image\.semantic\.png cannot be written: .*choose another'):
        write_result(semantic_result(20, 30), tmp_path / 'image', 0.3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['image.jpg', 'image.semantic.png']


def test_pictures_wider_than_a_jpeg_file_are_reduced(tmp_path):
    write_result(semantic_result(40, MAX_JPEG_SIDE + 500), tmp_path / 'image', 0.3)
    assert Image.open(tmp_path / 'image.jpg').size[0] == MAX_JPEG_SIDE
    assert Image.open(tmp_path / 'image.semantic.png').size == (MAX_JPEG_SIDE + 500, 40)
