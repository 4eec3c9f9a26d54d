"""The budgets of the code and the import rule of the package, read from syntax trees; ruff holds the other rules."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from dev.measure_style import DENSITY_LIMIT, ROOT, find_dense, find_files, read_functions

PACKAGE = ROOT / 'mask_dino'
FILE_LINES, BODY_LINES, FORWARD_LINES = 250, 30, 25
ARGUMENTS, CONSTRUCTOR_ARGUMENTS = 8, 12

# Budget that is broken -> why it is allowed.
EXCEPTIONS = {
    'mask_dino/det/visualizer.py:PanopticVisualizer.add_datasample arguments': "mmdet's signature",
}

# Folder -> functions that are denser than the limit. It is empty; a function may be listed with a reason in a comment.
DENSE: dict[str, tuple[str, ...]] = {}


def broken_budgets(file: Path) -> Iterator[str]:
    """Yield the budgets that a file of the package breaks."""
    place = file.relative_to(ROOT)
    if len(file.read_text().splitlines()) > FILE_LINES:
        yield f'{place} lines'
    for function in read_functions(file):
        name = re.split('[:.]', function.place)[-1]
        if function.length > (FORWARD_LINES if name == 'forward' else BODY_LINES):
            yield f'{function.place} lines'
        if function.arguments > (CONSTRUCTOR_ARGUMENTS if name == '__init__' else ARGUMENTS):
            yield f'{function.place} arguments'


def test_files_and_functions_are_short():
    broken = {budget for file in find_files([PACKAGE]) for budget in broken_budgets(file)}
    assert not broken - EXCEPTIONS.keys(), 'above the budget: shorten them'
    assert not EXCEPTIONS.keys() - broken, 'within the budget now: remove them from EXCEPTIONS'


def test_lines_are_not_dense():
    functions = [
        function
        for file in find_files([PACKAGE, ROOT / 'tools'])
        for function in read_functions(file)
    ]
    dense = {function.place: f'{function.density:.1f}' for function in find_dense(functions)}
    allowed = {f'{folder}/{function}' for folder, names in DENSE.items() for function in names}
    above = [f'{place}: {density}' for place, density in dense.items() if place not in allowed]
    assert not above, (
        f'more than {DENSITY_LIMIT} syntax-tree nodes per line: unfold them, one thing per line, and name the '
        'intermediate values (python tools/dev/measure_style.py --dense lists them)'
    )
    stale = sorted(allowed - dense.keys())
    assert not stale, (
        f'no longer dense, or renamed: remove from DENSE in tests/test_style.py {stale}'
    )


def constants(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of every constant of a module, as they are written."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper() and not name.startswith('_'):
                yield name, ast.unparse(node.value)


def test_constants_of_one_name_have_one_value():
    places: dict[str, dict[str, list[str]]] = {}
    for file in find_files([PACKAGE]):
        for name, value in constants(file):
            places.setdefault(name, {}).setdefault(value, []).append(str(file.relative_to(ROOT)))
    several = {name: list(values.values()) for name, values in places.items() if len(values) > 1}
    assert not several, 'name them after what they are, so that a search finds one'


def imports(source: str, module: str) -> set[str]:
    """Return the dotted names that a module imports anywhere in it; relative names are made absolute."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split('.')[: -node.level] if node.level else []
            base = '.'.join([*parents, *filter(None, [node.module])])
            names |= {f'{base}.{alias.name}' for alias in node.names}
    return names


def package_graph() -> dict[str, set[str]]:
    """Return what each module of the package imports."""
    graph = {}
    for file in find_files([PACKAGE]):
        # A relative name counts from the folder of the file: one level above `__init__` as above any other module.
        name = '.'.join(file.relative_to(ROOT).with_suffix('').parts)
        graph[name.removesuffix('.__init__')] = imports(file.read_text(), name)
    return graph


def reachable(module: str, graph: dict[str, set[str]]) -> set[str]:
    """Return everything that importing a module imports, by way of the package's other modules too."""
    names, waiting = set(), [module]
    while waiting:
        new = graph[waiting.pop()] - names
        names |= new
        # `a.b.c` imports a, a.b and, where it is a module and not a name in one, a.b.c.
        waiting += [parent for name in new for parent in [name, *parents(name)] if parent in graph]
    return names


def parents(name: str) -> list[str]:
    """Return the packages above a dotted name."""
    parts = name.split('.')
    return ['.'.join(parts[:count]) for count in range(1, len(parts))]


def within(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of the packages or below one."""
    return any(f'{name}.'.startswith(f'{package}.') for package in packages)


def may_import(module: str, name: str) -> bool:
    """Whether the import rule allows a module to import a name, directly or not."""
    if within(module, 'mask_dino.structures', 'mask_dino.boxes'):
        own = ('mask_dino.structures', 'mask_dino.boxes')
        return name == 'mask_dino' or within(name, 'torch', *own, *sys.stdlib_module_names)
    if within(module, 'mask_dino.runtime'):
        own = ('mask_dino.runtime',)
        return name == 'mask_dino' or within(
            name, 'numpy', 'onnxruntime', 'PIL', *own, *sys.stdlib_module_names
        )
    if within(module, 'mask_dino.models', 'mask_dino.ops'):
        data_samples = within(name, 'mmdet.structures') and not within(
            name, 'mmdet.structures.bbox', 'mmdet.structures.mask'
        )
        shells = within(name, 'mask_dino.det', 'mask_dino.seg', 'mmdet.models.detectors', 'mmseg')
        return not data_samples and not shells
    if within(module, 'mask_dino.det'):
        return not within(name, 'mmseg', 'mask_dino.seg')
    return not (within(module, 'mask_dino.seg') and within(name, 'mask_dino.det'))


def broken_imports(graph: dict[str, set[str]]) -> list[str]:
    """Return what the import rule forbids, as 'module: name'."""
    return [
        f'{module}: {name}'
        for module in graph
        for name in reachable(module, graph)
        if not may_import(module, name)
    ]


def test_the_import_rule_holds():
    assert not broken_imports(package_graph())


@pytest.mark.parametrize(
    ('module', 'source', 'allowed'),
    [
        ('mask_dino.boxes', 'import torch, typing\nfrom .structures import Targets', True),
        ('mask_dino.boxes', 'from mmdet.structures.bbox import bbox_cxcywh_to_xyxy', False),
        (
            'mask_dino.models.head',
            'from mmdet.models.layers import MLP\nfrom ..boxes import masks_to_boxes',
            True,
        ),
        ('mask_dino.models.head', 'from mmdet.structures import DetDataSample', False),
        ('mask_dino.models.head', 'def f():\n    import mmseg.models', False),
        ('mask_dino.models.head', 'from .. import det', False),
        ('mask_dino.models.head', 'from ..helper import x', False),
        ('mask_dino.det', 'from mmseg.registry import MODELS', False),
        ('mask_dino.seg', 'from mmseg.registry import MODELS', True),
        ('mask_dino.seg', 'from .helper import x', False),
        ('mask_dino.runtime.session', 'import torch', False),
    ],
)
def test_imports_are_followed(module, source, allowed):
    graph = {
        'mask_dino': set(),
        'mask_dino.det': set(),
        'mask_dino.helper': {'mask_dino.det.MaskDINO'},
    }
    graph |= {module: imports(source, module)}
    assert (not broken_imports(graph)) is allowed


def test_importing_the_package_loads_nothing_heavy():
    code = 'import mask_dino, sys; print(*sorted({"torch", "numpy", "mmengine", "mmcv"} & sys.modules.keys()))'
    loaded = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


def test_no_leftovers():
    leftover = re.compile(r'\bTO[D]O\b|\bFIX[M]E\b|(?<![\w.])/(home|root|Users|work)/')
    kinds = {'.py', '.sh', '.md', '.txt', '.cfg', '.toml', '.yaml', '.yml', '.cff'}
    code = ('mask_dino', 'configs', 'projects', 'tools', 'tests')
    folders = (*code, 'docs', 'requirements', '.github')
    files = [*ROOT.glob('*'), *(file for folder in folders for file in (ROOT / folder).rglob('*'))]
    texts = {
        file.relative_to(ROOT): file.read_text()
        for file in files
        if file.suffix in kinds and file.is_file()
    }
    assert texts
    found = [
        f'{file}: {line.strip()}'
        for file, text in texts.items()
        for line in text.splitlines()
        if leftover.search(line)
    ]
    assert not found


def test_the_changelog_repeats_no_line():
    # Git joins the changelogs of two branches without a conflict, and so brings back lines that one of them moved.
    lines = (ROOT / 'CHANGELOG.md').read_text().splitlines()
    entries = [line for line in lines if line.strip() and not line.startswith('#')]
    assert [line for line, count in Counter(entries).items() if count > 1] == []


def test_density_counts_the_nodes_of_a_body_per_line(tmp_path):
    file = tmp_path / 'module.py'
    file.write_text(
        'class A:\n    def f(self, x):\n        """Doc."""\n        y = 1\n        return y\n'
    )
    [function] = read_functions(file)
    # Assign, its Name with Store and its Constant; Return, its Name with Load.
    assert function[2:5] == (2, 7 / 2, 1)
    assert function.place.endswith('module.py:A.f')


def test_pre_commit_has_the_versions_of_the_environment():
    hooks = (ROOT / '.pre-commit-config.yaml').read_text()
    requirements = dict(
        re.findall(r'^(\w+)==(.+)$', (ROOT / 'requirements' / 'dev.txt').read_text(), re.MULTILINE)
    )
    pinned = dict(re.findall(r'/(ruff|codespell)\S*\n    rev: v(.+)', hooks))
    assert pinned == {name: requirements[name] for name in ('ruff', 'codespell')}
