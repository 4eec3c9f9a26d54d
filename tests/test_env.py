"""What `make env` decides, records and says; nothing is downloaded here."""

import sys
from pathlib import Path

import env
import pytest
from env import MMCV, ROOT, Choice, Contents, Venv

TORCH = '2.13.0+cpu'
CHOICE = Choice(python='', torch='torch==2.13.0', stack='openmmlab')
PROJECT = str(ROOT / 'mask_dino' / '__init__.py')
COMPLETE = Contents(
    '3.11', PROJECT, {'torch': TORCH, 'mmcv': '2.1.0', 'mmdet': '3.3.0'}, failed='', error=''
)


class FakeVenv(Venv):
    """An environment whose commands are recorded; `answers` are what it holds, one inspection after another."""

    def __init__(self, path, *answers):
        super().__init__(path, lock=0)
        self.answers, self.commands = [*answers], []

    def inspect(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def run(self, *command, **settings):
        self.commands.append(' '.join(command))
        if 'wheel' in command:
            folder = Path(command[command.index('-w') + 1])
            (folder / 'compiled.whl').touch()


@pytest.fixture
def venv(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    answer = type('Answer', (), {'stdout': 'cpu\n'})
    monkeypatch.setattr(env.subprocess, 'run', lambda *args, **kwargs: answer)
    return FakeVenv(tmp_path / 'venv', COMPLETE)


def make_good(venv):
    """Bring the environment to the state after a successful run."""
    venv.note(
        stack='openmmlab', mmcv_torch=TORCH, fingerprint=env.fingerprint(CHOICE, COMPLETE.installed)
    )


def test_nothing_is_done_twice(venv):
    make_good(venv)
    assert env.make_ready(venv, CHOICE) == COMPLETE
    assert venv.commands == []


@pytest.mark.parametrize(
    ('contents', 'choice', 'state', 'reason'),
    [
        (Contents('', '', {}, 'python', 'it does not exist'), CHOICE, {}, 'it does not exist'),
        (COMPLETE, CHOICE, {'unfinished': 'pip changed it'}, 'stopped while pip changed it'),
        (COMPLETE, CHOICE._replace(python='3.12'), {}, 'it has Python 3.11'),
        (
            COMPLETE,
            CHOICE._replace(stack='onedl'),
            {'stack': 'openmmlab'},
            'openmmlab and onedl stacks cannot share',
        ),
    ],
)
def test_an_environment_that_cannot_be_repaired_is_made_again(
    venv, contents, choice, state, reason
):
    venv.note(**state)
    assert reason in env.reason_to_remake(venv, choice, contents)


@pytest.mark.parametrize(
    ('contents', 'choice', 'reason'),
    [
        (
            COMPLETE._replace(failed='mmcv', error='undefined symbol'),
            CHOICE,
            'mmcv does not work: undefined symbol',
        ),
        (COMPLETE._replace(project='elsewhere'), CHOICE, 'imported from elsewhere'),
        (COMPLETE._replace(installed={'torch': TORCH}), CHOICE, 'have changed'),
        (COMPLETE, CHOICE._replace(torch='torch==2.4.1'), 'have changed'),
    ],
)
def test_other_differences_are_repaired(venv, contents, choice, reason):
    make_good(venv)
    assert env.reason_to_remake(venv, choice, contents) == ''
    assert reason in env.reason_to_repair(venv, choice, contents)


def test_what_cannot_be_repaired_is_made_again_once(venv):
    make_good(venv)
    broken = COMPLETE._replace(failed='packages', error='libtorch.so')
    venv.answers = [broken]
    with pytest.raises(SystemExit, match='does not work in a new environment'):
        env.make_ready(venv, CHOICE)
    assert sum('-m venv' in command for command in venv.commands) == 1


def test_mmcv_is_compiled_for_another_torch_and_the_wheel_is_kept(venv, tmp_path):
    venv.note(mmcv_torch='2.4.1')
    env.install_everything(venv, CHOICE)
    assert any('pip wheel' in command for command in venv.commands)
    [wheel] = (tmp_path / 'cache').rglob('*.whl')
    assert wheel.parent.name == f'mmcv-2.1.0-torch-{TORCH}-py3.11-cpu'
    venv.commands.clear()
    env.install_mmcv(venv, MMCV['openmmlab'], COMPLETE)
    assert venv.commands == [f'{venv.python} -m pip install --force-reinstall --no-deps {wheel}']
    assert venv.state['mmcv_torch'] == TORCH


def test_a_wheel_that_does_not_work_is_replaced(venv, tmp_path):
    folder = tmp_path / 'cache' / 'mask_dino' / 'wheels' / f'mmcv-2.1.0-torch-{TORCH}-py3.11-cpu'
    folder.mkdir(parents=True)
    (folder / 'bad.whl').touch()
    venv.answers = [COMPLETE._replace(failed='mmcv', error='undefined symbol')]
    env.install_mmcv(venv, MMCV['openmmlab'], COMPLETE)
    assert [wheel.name for wheel in folder.iterdir()] == ['compiled.whl']


def test_opencv_without_a_desktop_is_replaced(venv):
    venv.note(mmcv_torch=TORCH)
    venv.answers = [
        COMPLETE,
        COMPLETE._replace(failed='opencv', error='ImportError: libGL.so.1'),
        COMPLETE,
    ]
    env.install_everything(venv, CHOICE)
    assert any('opencv-python-headless' in command for command in venv.commands)
    assert not any('pip wheel' in command for command in venv.commands)


def test_a_folder_that_is_no_environment_is_left_alone(venv):
    venv.path.mkdir()
    (venv.path / 'thesis.tex').write_text('precious')
    with pytest.raises(SystemExit, match='remove it, or choose another folder'):
        venv.make()
    assert (venv.path / 'thesis.tex').read_text() == 'precious'


def test_the_package_itself_requires_no_stack():
    names = {line.split('=')[0] for line in (ROOT / 'requirements.txt').read_text().splitlines()}
    assert not {name for name in names if name.startswith(('mm', 'onedl', 'torch'))}


@pytest.mark.parametrize('torch', ['torch=2.4', 'numpy==2', 'torchvision'])
def test_torch_has_to_be_a_requirement(torch, capsys):
    with pytest.raises(SystemExit):
        env.parse_args(['--torch', torch])
    assert 'requirement such as torch==2.13.0' in capsys.readouterr().err


def test_choices_are_remembered():
    before = {'torch': 'torch==2.4.1', 'stack': 'onedl'}
    python = '{}.{}'.format(*sys.version_info)
    assert env.choose(env.parse_args([]), {}) == CHOICE
    assert env.choose(env.parse_args(['--torch', '', '--stack', '']), before) == Choice(
        '', 'torch==2.4.1', 'onedl'
    )
    chosen = env.choose(env.parse_args(['--stack', 'openmmlab', '--this-python']), before)
    assert chosen == Choice(python, 'torch==2.4.1', 'openmmlab')


def test_a_failing_command_shows_its_log_and_a_remedy(tmp_path):
    with Path(__file__).open() as lock:
        venv = Venv(tmp_path, lock.fileno())
        script = 'print("OSError: [Errno 28] No space left on device"); raise SystemExit(1)'
        with pytest.raises(SystemExit, match='the disk is full') as error:
            venv.run(sys.executable, '-c', script)
    assert str(venv.log) in str(error.value)


@pytest.mark.parametrize(
    ('log', 'remedy'),
    [
        ('something new', 'see the end of its log'),
        (
            'Temporary failure in name resolution\nNo matching distribution found for torch',
            'network',
        ),
        ('fatal error: Python.h: No such file or directory', 'python3-dev'),
        ('/bin/sh: 1: c++: not found', 'g++'),
    ],
)
def test_remedies_follow_from_the_log(log, remedy):
    assert remedy in env.find_remedy(log)
