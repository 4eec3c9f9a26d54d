"""Links, paths and commands of the pages lead somewhere."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dev.docs_hooks import on_page_content

import mask_dino

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
PAGES = [ROOT / 'README.md', *sorted(DOCS.rglob('*.md'))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
REASONS = {
    'make demo': 'tests/demo runs its steps; all of it takes minutes',
    'make': 'the targets are checked to exist; they make an environment, or run this test',
    'pip': 'changes the environment',
    'mim': 'needs the wheel and mim in an environment of their own',
    'tools/dist_train.sh': 'tests/tools/test_tools.py runs it; here are no eight GPUs and no COCO',
    'tools/dist_test.sh': 'tests/tools/test_tools.py runs it; here are no eight GPUs and no COCO',
    'tools/slurm_train.sh': 'there is no Slurm here',
    'tools/slurm_test.sh': 'there is no Slurm here',
    'python tools/train.py': 'tests/tools/test_tools.py runs it; a real training takes minutes to days',
    'python tools/test.py': 'tests/tools/test_tools.py runs it; needs the checkpoint of a training',
    'python tools/model_converters/': 'tests/tools runs them; the released files are not here',
    'python tools/analysis_tools/': 'tests/tools runs them; the figures of the pages take minutes',
    'python tools/deployment/': 'tests of tools run it on a small model',
    'python tools/demo/': 'tests/demo runs it; it serves a page until it is stopped',
    'python tools/dev/': 'tests run their parts',
    'python tools/misc/new_config.py': 'test_the_way_to_a_config_of_your_own runs it',
    'python tools/misc/check_dataset.py': 'test_the_way_to_a_config_of_your_own runs it',
    'python tools/misc/': 'tests/tools runs them; they take minutes, or need a checkpoint',
    'python tools/dataset_converters/': 'test_the_way_to_a_config_of_your_own runs them',
    'python -m gpu': 'needs a GPU',
    'python -m mask_dino.runtime': 'tests/runtime runs it; needs an exported file',
    'python -c': 'names a folder of another package',
    'python projects/': 'takes minutes; its figures are committed beside it',
    'python $TOOLS/': 'a tool of MMDetection or MMSegmentation',
    'TOOLS=': 'names a folder of another package',
    'CONFIG=': 'a variable for the next lines',
    'git': 'needs the address of the repository',
    'cd': 'changes the folder',
    'trtexec': 'needs TensorRT',
    'apt-get': 'changes the machine',
}
"""Why a command that begins so is not run here as it stands."""


def read_blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf'^```{language}\n(.*?)^```', page.read_text(), re.MULTILINE | re.DOTALL)


def read_commands(page: Path) -> list[str]:
    """Return the command lines of a page, without comments."""
    text = '\n'.join(read_blocks(page, '(?:bash|shell)')).replace('\\\n', ' ')
    lines = [' '.join(shlex.split(line, comments=True)) for line in text.splitlines()]
    return [line for line in lines if line]


def drop_variables(command: str) -> str:
    """Return a command without the variables that are set before it."""
    while re.match(r'[A-Z_]+=\S+ \S', command) and not command.startswith(('TOOLS=', 'CONFIG=')):
        command = command.partition(' ')[2]
    return command


def constants_of(path: Path) -> set[str]:
    """Return the strings in a module, also in the modules of this project that it imports."""
    tree = ast.parse(path.read_text())
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    texts = {text for text in found if isinstance(text, str)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or '').startswith('mask_dino'):
            continue
        folder = ROOT / node.module.replace('.', '/')
        modules = [folder.with_suffix('.py'), *(folder / f'{n.name}.py' for n in node.names)]
        for module in filter(Path.is_file, modules):
            inner = ast.walk(ast.parse(module.read_text()))
            texts |= {
                n.value for n in inner if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
    return texts


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_every_command_has_a_reason_or_a_test(page):
    for command in map(drop_variables, read_commands(page)):
        assert command.startswith(tuple(REASONS)), command


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_scripts_and_options_of_commands_exist(page):
    for command in map(drop_variables, read_commands(page)):
        words = shlex.split(command.replace('$(', '('), comments=False)
        scripts = [word for word in words[:2] if word.startswith(('tools/', 'projects/'))]
        if not scripts:
            continue
        script = ROOT / scripts[0]
        assert script.is_file(), command
        if script.suffix == '.py':
            options = {word.partition('=')[0] for word in words if re.match(r'--[a-z]', word)}
            assert options <= constants_of(script) | {'--help'}, command


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_configs_of_commands_exist(page):
    for command in read_commands(page):
        for name in re.findall(r'\bconfigs/\S+?\.py\b', command):
            assert (ROOT / name).is_file(), command


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_targets_of_make_exist(page):
    targets = re.findall(r'^([a-z]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    for target in re.findall(r'\bmake ([a-z]+)\b', '\n'.join(read_commands(page))):
        assert target in targets


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_examples_in_python_are_valid(page):
    for block in read_blocks(page, 'python'):
        ast.parse(block)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that mkdocs gives to the headings of a page."""
    headings = re.findall(r'^#+ (.*)$', page.read_text(), re.MULTILINE)
    plain = [re.sub(r'[^\w\s-]', '', heading).strip().lower() for heading in headings]
    return {re.sub(r'[-\s]+', '-', heading) for heading in plain}


@pytest.mark.parametrize('page', PAGES, ids=NAMES)
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' in target:
            continue
        name, _, anchor = target.partition('#')
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert page == ROOT / 'README.md' or linked.is_relative_to(DOCS), target
        assert not anchor or anchor in anchors_of(linked), target


def test_the_site_lists_every_page():
    text = (ROOT / 'mkdocs.yml').read_text()
    listed = re.findall(r': (\S+\.md)$', text, re.MULTILINE)
    pages = {str(page.relative_to(DOCS)) for page in PAGES[1:]}
    assert set(listed) == pages
    assert yaml.safe_load(text)['site_name']


def test_readme_is_one_page():
    lines = (ROOT / 'README.md').read_text().splitlines()
    assert len(lines) <= 200
    assert [line for line in lines[:10] if line.startswith('![')]  # a picture on the first screen


def test_the_newest_version_has_a_date_and_the_kinds_of_changes():
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    heading = f'## [{mask_dino.__version__}] - {citation["date-released"]}\n'
    assert heading in changelog
    section = changelog.partition(heading)[2].partition('\n## ')[0]
    assert re.findall(r'^### (\w+)$', section, re.MULTILINE) == ['Added', 'Changed', 'Fixed']


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == mask_dino.__version__
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    [newest, *_] = re.findall(r'^## \[(\d+\.\d+\.\d+)\]', changelog, re.MULTILINE)
    assert newest == mask_dino.__version__


def test_modules_of_the_reference_and_paths_of_the_architecture_exist():
    for page in PAGES:
        for module in re.findall(r'^::: (\S+)$', page.read_text(), re.MULTILINE):
            path = ROOT / module.replace('.', '/')
            assert path.with_suffix('.py').is_file() or (path / '__init__.py').is_file(), module
    text = (DOCS / 'architecture.md').read_text()
    for name in re.findall(r'`([\w/]+(?:\.py|/))`', text):
        assert (ROOT / 'mask_dino' / name).exists() or (ROOT / name).exists(), name


def test_names_in_docstrings_are_shown_without_their_roles():
    html = 'see :func:<code>~mask_dino.boxes.masks_to_boxes</code> of :class:<code>Targets</code>'
    assert on_page_content(html) == 'see <code>masks_to_boxes</code> of <code>Targets</code>'


def test_messages_in_troubleshooting_are_messages_of_this_project_or_known():
    others = (
        'mmcv._ext',
        'KeyError',
        'Weights only',
        'CUDA out',
        'Killed',
        'classes=',
        'address',
        'This Data',
    )
    sources = ''.join(path.read_text() for path in (ROOT / 'mask_dino').rglob('*.py'))
    page = (DOCS / 'troubleshooting.md').read_text()
    for heading in re.findall(r'^### (.*)$', page, re.MULTILINE):
        for message in re.findall(r'`([^`]+)`', heading):
            known = any(other in message for other in others)
            assert known or message.replace(' for cuda', '') in sources, message


def test_the_way_to_a_config_of_your_own(tmp_path):
    """The commands of docs/guides/your_data.md, on a small data set and from the base config."""
    tools = ROOT / 'tools'
    base = ROOT / 'configs/maskdino/maskdino_tiny_shapes.py'
    commands = [
        [
            tools / 'dataset_converters/make_shapes.py',
            'mine',
            '--train',
            6,
            '--val',
            2,
            '--size',
            64,
        ],
        [tools / 'dataset_converters/split_coco.py', 'mine/annotations/instances_train.json'],
        [tools / 'misc/new_config.py', '--data', 'mine', '--base', base],
        [tools / 'misc/check_dataset.py', 'my_configs/mine.py', '--images'],
    ]
    for command in commands:
        if 'new_config' in str(command[0]):  # the parts of the split take the place of all files
            (tmp_path / 'mine/annotations/instances_val.json').unlink()
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
    assert 'info: train_dataloader: 5 images' in done.stdout
