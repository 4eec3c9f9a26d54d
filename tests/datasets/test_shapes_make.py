"""Shapes is written wholly or not at all, and never over anything else."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mask_dino.datasets.shapes import World, write
from mask_dino.datasets.shapes.write import STAMP, write_shapes

ROOT = Path(__file__).parents[2]
WORLD = World(train=2, val=1, size=32)


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, 'tools/dataset_converters/make_shapes.py', *map(str, arguments)]
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_second_time_does_nothing(tmp_path):
    assert write_shapes(WORLD, tmp_path / 'shapes')
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    assert not write_shapes(WORLD, tmp_path / 'shapes')
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}


def test_folders_on_the_way_and_empty_ones_are_fine(tmp_path):
    (tmp_path / 'empty').mkdir()
    assert write_shapes(WORLD, tmp_path / 'empty')
    assert write_shapes(WORLD, tmp_path / 'deep/er')


def test_the_folder_has_the_usual_permissions(tmp_path):
    (tmp_path / 'usual').mkdir()
    write_shapes(WORLD, tmp_path / 'shapes')
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('usual', 'shapes')]
    assert modes[0] == modes[1]


def test_other_options_are_named_and_nothing_is_touched(tmp_path):
    folder = tmp_path / 'shapes'
    write_shapes(WORLD, folder)
    with pytest.raises(
        FileExistsError, match=r'train 2 instead of 3, seed 0 instead of 1; remove it'
    ) as error:
        write_shapes(World(train=3, val=1, size=32, seed=1), folder)
    assert str(folder) in str(error.value) and 'size' not in str(error.value)
    assert not write_shapes(WORLD, folder)


@pytest.mark.parametrize('stamp', [None, 'not json', '[]'])
def test_a_foreign_folder_is_left_alone(tmp_path, stamp):
    (tmp_path / 'photo.jpg').write_text('mine')
    if stamp:
        (tmp_path / STAMP).write_text(stamp)
    with pytest.raises(FileExistsError, match='was not made by this tool'):
        write_shapes(WORLD, tmp_path)
    assert (tmp_path / 'photo.jpg').read_text() == 'mine'


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / 'shapes').write_text('mine')
    with pytest.raises(FileExistsError, match='was not made by this tool'):
        write_shapes(WORLD, tmp_path / 'shapes')


@pytest.mark.parametrize('problem', [OSError('disk full'), KeyboardInterrupt()])
def test_failure_leaves_nothing_behind(tmp_path, monkeypatch, problem):
    compose_scene = write.compose_scene

    def fail_late(world, rng):
        if len(list(tmp_path.rglob('*.jpg'))) == 2:
            raise problem
        return compose_scene(world, rng)

    monkeypatch.setattr(write, 'compose_scene', fail_late)
    with pytest.raises(type(problem)):
        write_shapes(WORLD, tmp_path / 'shapes')
    assert not list(tmp_path.iterdir())


def test_command_makes_repeats_and_refuses(tmp_path):
    options = [
        tmp_path / 'shapes',
        '--train',
        2,
        '--val',
        1,
        '--size',
        32,
        '--seed',
        3,
        '--max-objects',
        2,
    ]
    assert 'wrote 2 training and 1 validation images' in run(*options).stdout
    assert 'up to date' in run(*options).stdout
    refused = run(tmp_path / 'shapes', '--train', 2)
    assert refused.returncode == 2
    assert f'rm -r {tmp_path}/shapes' in refused.stderr and 'Traceback' not in refused.stderr


@pytest.mark.parametrize(
    'option', ['--size=16', '--train=-1', '--val=-1', '--seed=-1', '--max-objects=-1']
)
def test_command_names_a_bad_option(tmp_path, option):
    done = run(tmp_path / 'shapes', option)
    assert done.returncode == 2
    assert (
        option[2:].split('=')[0].replace('-', '_') in done.stderr and 'Traceback' not in done.stderr
    )
    assert not list(tmp_path.iterdir())


def test_command_names_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    done = run(tmp_path / 'file/shapes', '--train', 1)
    assert done.returncode == 2
    assert f'{tmp_path}/file/shapes' in done.stderr and 'Traceback' not in done.stderr
