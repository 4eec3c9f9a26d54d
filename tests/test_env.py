"""What `make env` decides, records and says; nothing is downloaded here."""

import sys
from importlib import metadata
from pathlib import Path

import pytest
from env.__main__ import choose, parse
from env.mmcv import install_mmcv
from env.plan import MMCV, RIVALS, ROOT, Found, Step, Wanted, next_step, requirement_lines, requirements
from env.probe import lack, missing_below
from env.shell import progress, remedy, run
from env.venv import CHANGED, CHANGING, Venv

TORCH = '2.13.0+cpu'
WANTED = Wanted(python='', torch='torch==2.13.0', stack='openmmlab')
NOTHING_UNMET = {step: [] for step in ('torch', 'packages', 'mmcv', 'project')}
GOOD = Found(
    python='3.11',
    installed={'torch': TORCH, 'mmcv': '2.1.0', 'mmdet': '3.3.0'},
    unmet=NOTHING_UNMET,
    mmcv_torch=TORCH,
    project=str(ROOT),
)


@pytest.fixture
def venv(tmp_path):
    with Path(__file__).open() as lock:
        yield Venv(tmp_path / 'venv', lock.fileno())


def unmet(**lacks):
    return GOOD._replace(unmet=NOTHING_UNMET | lacks)


def test_nothing_to_do():
    assert next_step(WANTED, GOOD) is None
    assert next_step(WANTED, GOOD._replace(mmcv_torch='')) is None, 'made by hand and working'
    assert next_step(WANTED._replace(python='3.11'), GOOD) is None


@pytest.mark.parametrize(
    ('found', 'reason'),
    [
        (Found(exists=False), 'none yet'),
        (Found(), 'interpreter is gone'),
        (GOOD._replace(unfinished='pip was at work'), 'stopped while pip was at work'),
        (GOOD._replace(installed={**GOOD.installed, 'onedl-mmcv': '2.3.6'}), 'onedl-mmcv'),
        (GOOD._replace(failure=('venv', 'ImportError: libtorch.so')), 'libtorch'),
    ],
)
def test_made_anew(found, reason):
    step = next_step(WANTED, found)
    assert step.name == 'venv'
    assert reason in step.reason


def test_made_anew_for_another_python_or_stack():
    assert next_step(WANTED._replace(python='3.12'), GOOD) == Step('venv', 'it has Python 3.11')
    step = next_step(WANTED._replace(stack='onedl'), GOOD)
    assert step.name == 'venv'
    assert 'mmdet' in step.reason


def test_steps_follow_their_dependence():
    found = unmet(torch=['no torch'], packages=['no numpy'], mmcv=['no mmcv'], project=['no project'])
    order = []
    while step := next_step(WANTED, found):
        order.append(step)
        found = found._replace(unmet={**found.unmet, step.name: []})
    assert order == [
        Step('torch', 'no torch'),
        Step('packages', 'no numpy'),
        Step('mmcv', 'no mmcv'),
        Step('project', 'no project'),
    ]


def test_mmcv_is_compiled_again_for_another_torch():
    step = next_step(WANTED, GOOD._replace(mmcv_torch='2.4.1'))
    assert step.name == 'mmcv'
    assert '2.4.1' in step.reason
    assert TORCH in step.reason


def test_mmcv_without_ops_is_compiled_again():
    failure = ('mmcv', "ImportError: cannot import name '_ext'")
    assert next_step(WANTED, GOOD._replace(failure=failure)) == Step(*failure)


def test_failing_opencv_is_mended_before_mmcv_is_compiled():
    found = unmet(mmcv=['mmcv is missing'])._replace(failure=('opencv', 'ImportError: libGL.so.1'))
    assert next_step(WANTED, found).name == 'opencv'


def test_moved_project_is_installed_again():
    step = next_step(WANTED, GOOD._replace(project='/somewhere/else'))
    assert step == Step('project', 'mask_dino is imported from /somewhere/else')


def test_long_lists_are_shortened():
    assert next_step(WANTED, unmet(packages=['a', 'b', 'c', 'd', 'e'])).reason == 'a; b; c; and 2 more'


@pytest.mark.parametrize('stack', MMCV)
def test_requirements_name_one_stack(stack):
    wanted = requirements(Wanted('', 'torch==2.4.1 --index-url https://example.com', stack))
    assert wanted['torch'] == ['torch==2.4.1']
    names = {line.split('==')[0] for line in wanted['packages'] + wanted['mmcv']}
    assert not names & RIVALS[stack]
    assert {name.removeprefix('onedl-') for name in names} >= {'mmcv', 'mmengine'}


def test_package_itself_requires_no_stack():
    names = {line.split('=')[0] for line in requirement_lines(ROOT / 'requirements.txt')}
    assert names
    assert not names & set().union(*RIVALS.values(), {'torch', 'torchvision'})


@pytest.mark.parametrize(
    ('text', 'installed', 'expected'),
    [
        ('torch==2.13.0', {'torch': '2.13.0+cpu'}, ''),
        ('torch==2.4.1', {'torch': '2.13.0'}, 'torch==2.4.1 is wanted, here is 2.13.0'),
        ('mask_dino==0.1.0', {'mask-dino': '0.1.0'}, ''),
        ('numpy', {}, 'numpy is missing'),
    ],
)
def test_lack(text, installed, expected):
    assert lack(text, installed) == expected


def test_missing_dependencies_are_found_below():
    installed = dict.fromkeys(['pytest', 'iniconfig', 'pluggy'], '1')
    assert 'packaging, which pytest needs, is missing' in missing_below(['pytest>=8'], installed)
    everything = {dist.metadata['Name'].lower(): dist.version for dist in metadata.distributions()}
    assert missing_below(['pytest>=8', 'absent'], everything) == []


@pytest.mark.parametrize('torch', ['torch=2.4', 'numpy==2', 'torchvision'])
def test_torch_has_to_be_a_requirement(torch, capsys):
    with pytest.raises(SystemExit):
        parse(['--torch', torch])
    assert 'requirement such as torch==2.13.0' in capsys.readouterr().err


def test_choices_are_remembered():
    before = {'torch': 'torch==2.4.1', 'stack': 'onedl'}
    python = '{}.{}'.format(*sys.version_info)
    assert choose(parse([]), {}) == WANTED
    assert choose(parse(['--torch', '', '--stack', '']), before) == Wanted('', 'torch==2.4.1', 'onedl')
    assert choose(parse(['--stack', 'openmmlab', '--this-python']), before) == Wanted(
        python, 'torch==2.4.1', 'openmmlab'
    )


def test_half_made_environments_are_noticed(venv):
    def step():
        return next_step(WANTED, venv.look(WANTED))

    assert step() == Step('venv', 'there is none yet')
    venv.note(mmcv_torch='2.4.1', torch='torch==2.4.1')
    (venv.path / 'lib').mkdir()
    (venv.path / 'lib' / 'old').touch()
    venv.make()
    assert not (venv.path / 'lib' / 'old').exists()
    assert Venv(venv.path, venv.lock).state == {'mmcv_torch': '', 'torch': 'torch==2.4.1', 'unfinished': ''}
    assert step() == Step('torch', 'torch==2.13.0 is missing')
    venv.note(unfinished='pip was at work')
    venv.log.write_text('Collecting torch')
    assert step().name == 'torch', 'pip had changed nothing'
    venv.log.write_text(f'Collecting torch\n{CHANGING}: torch')
    assert step() == Step('venv', 'an earlier run was stopped while pip was at work')
    venv.log.write_text(f'Collecting torch\n{CHANGING}: torch\n{CHANGED} torch-2.13.0')
    assert step().name == 'torch', 'pip had done its work'
    venv.note(unfinished='')
    venv.python.unlink()
    assert step() == Step('venv', 'its interpreter is gone or cannot run pip')


def test_foreign_folder_is_left_alone(venv):
    venv.path.mkdir()
    (venv.path / 'thesis.tex').write_text('precious')
    with pytest.raises(SystemExit, match='left alone'):
        venv.make()
    assert (venv.path / 'thesis.tex').read_text() == 'precious'


class CachedWheels(Venv):
    """An environment where the wheels whose names hold 'bad' do not work."""

    installed = ''

    def ask(self, *arguments):
        return type('Answer', (), {'stdout': 'py3.11-cpu\n/usr/include\n'})

    def install(self, *arguments):
        self.installed = arguments[-1]

    def failure(self):
        return ('mmcv', 'undefined symbol') if 'bad' in self.installed else None


def test_cached_wheel_is_used_and_one_that_fails_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    folder = tmp_path / 'mask_dino' / 'wheels' / f'mmcv-2.1.0-torch-{TORCH}-py3.11-cpu'
    folder.mkdir(parents=True)
    for name in ('bad.whl', 'good.whl'):
        (folder / name).touch()
    venv = CachedWheels(tmp_path / 'venv', 0)
    install_mmcv(venv, 'mmcv==2.1.0', TORCH)
    assert Path(venv.installed).name == 'good.whl'
    assert [wheel.name for wheel in folder.iterdir()] == ['good.whl']
    assert venv.state['mmcv_torch'] == TORCH


def test_missing_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(SystemExit, match=r'apt-get install g\+\+ python3-dev'):
        install_mmcv(CachedWheels(tmp_path / 'venv', 0), 'mmcv==2.1.0', TORCH)


def test_failing_command_shows_its_log_and_a_remedy(venv, tmp_path):
    script = 'print("OSError: [Errno 28] No space left on device"); raise SystemExit(1)'
    with pytest.raises(SystemExit, match='the disk is full') as error:
        run(tmp_path / 'log', [sys.executable, '-c', script], venv.lock)
    assert str(tmp_path / 'log') in str(error.value)


def test_remedy_for_the_unknown_points_to_the_log():
    assert 'log' in remedy('something new')
    assert 'network' in remedy('Temporary failure in name resolution\nNo matching distribution found for torch')


def test_progress_counts_the_files(tmp_path):
    log = tmp_path / 'log'
    log.write_text('building\n')
    assert progress(65, log) == '... 1:05'
    log.write_text('  [1/96] c++ a\n  [24/96] c++ b [3/4]\n')
    assert progress(60, log) == '... 1:00, file 24 of 96, about 3:00 left'
