"""Every tool says in its help what it does, what its arguments are, how to call it, and what its exit codes mean."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from mask_dino.cli.help import make_parser

ROOT = Path(__file__).parents[1]
FOLDERS = ('tools', 'projects', 'mask_dino')
FILES = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob('*.py'))]
SHARED = ''.join(file.read_text() for file in (ROOT / 'mask_dino/cli').glob('*.py'))
ALONE = {'tools/env.py', 'mask_dino/runtime/__main__.py', 'mask_dino/cli/help.py'}
"""Files that make their parser without the package, or with a few packages only."""
TOOLS = [file for file in FILES if re.search(r'make_parser\(|ArgumentParser\(', file.read_text())]
DECLARING = [file for file in FILES if '.add_argument(' in file.read_text()]
SWITCHES = ("'store_true'", 'argparse.SUPPRESS', 'required=True', 'default=argparse.SUPPRESS')


def name_of(file: Path) -> str:
    """Return the path from the root."""
    return str(file.relative_to(ROOT))


def calls_of(file: Path, name: str) -> list[ast.Call]:
    """Return the calls of a function or method of this name."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func).split('.')[-1] == name]


def test_every_program_has_a_help():
    programs = [
        file
        for folder in ('tools', 'projects')
        for file in (ROOT / folder).rglob('*.py')
        if '__main__' in file.read_text() or file.name == '__main__.py'
    ]
    assert len(programs) > 25
    assert {*programs} - {*TOOLS} == {ROOT / 'tools/dev/write_tables.py'} & {*programs}


@pytest.mark.parametrize('file', DECLARING, ids=map(name_of, DECLARING))
def test_every_argument_has_a_help_and_every_option_its_default(file):
    for call in calls_of(file, 'add_argument'):
        text = ast.unparse(call)
        assert 'help=' in text, text
        is_option = ast.unparse(call.args[0]).startswith("'--")
        if is_option and not any(switch in text for switch in SWITCHES):
            assert 'default: ' in text or 'help=description' in text, text


@pytest.mark.parametrize('file', TOOLS, ids=map(name_of, TOOLS))
def test_a_help_has_an_example_whose_script_and_options_exist(file):
    if name_of(file) in ALONE:
        text = file.read_text()
        assert 'example' in text and 'xit codes' in text
        return
    [call] = calls_of(file, 'make_parser')
    examples = [ast.literal_eval(argument) for argument in call.args[1:]]
    assert examples
    options = set(re.findall(r"'(--[\w-]+)'", file.read_text() + SHARED))
    for example in examples:
        words = shlex.split(example)
        scripts = [word for word in words if word.startswith(('tools/', 'projects/'))]
        assert all((ROOT / script).is_file() for script in scripts if script.endswith('.py')), (
            example
        )
        assert {word for word in words if word.startswith('--')} <= options, example


def test_a_help_is_wrapped_and_keeps_the_lines_of_examples(monkeypatch):
    monkeypatch.setenv('COLUMNS', '60')
    text = make_parser('Count. ' * 30, 'python a.py ' + 'x' * 80, 'python b.py').format_help()
    assert '\n  python a.py ' + 'x' * 80 + '\n  python b.py\n' in text
    assert 'examples:' in text and '\nexit codes: 0: done' in text
    assert all(len(line) <= 60 for line in text.splitlines() if 'xxx' not in line)
