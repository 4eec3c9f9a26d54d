"""The style budgets and the import rule that keep the package small, held by its syntax trees."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'mask_dino'

FILE_LINES, BODY_LINES, FORWARD_LINES = 250, 30, 25
ARGUMENTS, CONSTRUCTOR_ARGUMENTS = 8, 12
NESTING = 2

# (place, rule) -> why it is allowed
EXCEPTIONS: dict[tuple[str, str], str] = {
    ('det/visualizer.py:PanopticVisualizer.add_datasample', 'arguments'): "mmdet's signature",
}

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FOUNDATIONS = ('mask_dino.structures', 'mask_dino.boxes')


class Violation(NamedTuple):
    """One broken rule; `place` is a file and, after a colon, a name in it."""

    place: str
    rule: str
    detail: str


def check_budgets(source: str, file: str) -> Iterator[Violation]:
    """All broken budgets of one file."""
    lines = len(source.splitlines())
    if lines > FILE_LINES:
        yield Violation(file, 'lines', f'{lines} > {FILE_LINES}')
    tree = ast.parse(source)
    if tree.body and not ast.get_docstring(tree):
        yield Violation(file, 'docstring', 'missing')
    yield from check_scope(tree, file, public=True)


def check_scope(scope: ast.AST, place: str, public: bool) -> Iterator[Violation]:
    """Broken budgets of everything defined in a module or class."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            continue
        name = f'{place}{":" if place.endswith(".py") else "."}{node.name}'
        visible = public and not node.name.startswith('_')
        if visible and not ast.get_docstring(node):
            yield Violation(name, 'docstring', 'missing')
        if isinstance(node, ast.ClassDef):
            yield from check_scope(node, name, visible)
        else:
            yield from check_function(node, name, isinstance(scope, ast.ClassDef))


def check_function(node: ast.FunctionDef | ast.AsyncFunctionDef, place: str, method: bool) -> Iterator[Violation]:
    """Broken budgets of one function and of the functions inside it."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
    limit = FORWARD_LINES if node.name == 'forward' else BODY_LINES
    if lines > limit:
        yield Violation(place, 'lines', f'{lines} > {limit}')
    count = count_arguments(node, method)
    limit = CONSTRUCTOR_ARGUMENTS if node.name == '__init__' else ARGUMENTS
    if count > limit:
        yield Violation(place, 'arguments', f'{count} > {limit}')
    depth = max(map(nesting, body), default=0)
    if depth > NESTING:
        yield Violation(place, 'nesting', f'{depth} > {NESTING}')
    for inner in ast.walk(node):
        if isinstance(inner, FUNCTIONS) and inner is not node:
            yield from check_function(inner, f'{place}.{inner.name}', method=False)


def count_arguments(node: ast.FunctionDef | ast.AsyncFunctionDef, method: bool) -> int:
    """Arguments of a function; a method's self or cls is none."""
    names = node.args
    every = [*names.posonlyargs, *names.args, *names.kwonlyargs, *filter(None, (names.vararg, names.kwarg))]
    static = any(isinstance(mark, ast.Name) and mark.id == 'staticmethod' for mark in node.decorator_list)
    return len(every) - (method and not static)


def nesting(node: ast.AST) -> int:
    """Depth of the blocks in a statement, itself included: elif is as deep as if, and inner functions count anew."""
    if isinstance(node, (*FUNCTIONS, ast.Lambda)):
        return 0
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return max(1 + max(map(nesting, node.body)), nesting(node.orelse[0]))
    return isinstance(node, BLOCKS) + max(map(nesting, children), default=0)


def imports(source: str, module: str) -> set[str]:
    """The dotted names that a module imports anywhere in it, relative ones made absolute."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split('.')[: -node.level] if node.level else []
            base = '.'.join([*parents, *filter(None, [node.module])])
            names |= {f'{base}.{alias.name}' for alias in node.names}
    return names


def reachable(module: str, graph: dict[str, set[str]]) -> set[str]:
    """Everything that importing a module imports, by way of the package's own modules too."""
    seen, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        own = {part for part in prefixes(name) if part in graph} - seen
        seen |= {name} | own
        waiting |= set().union(*(graph[part] for part in own)) - seen
    return seen - {module}


def prefixes(name: str) -> list[str]:
    """A dotted name and the packages above it."""
    parts = name.split('.')
    return ['.'.join(parts[: count + 1]) for count in range(len(parts))]


def check_imports(graph: dict[str, set[str]]) -> Iterator[Violation]:
    """All broken rules of who imports what."""
    for module in graph:
        for name in reachable(module, graph):
            if forbidden(module, name):
                yield Violation(module, 'import', name)


def forbidden(module: str, name: str) -> bool:
    """Whether a module may not import a name."""
    top = name.split('.')[0]
    if module in FOUNDATIONS:
        own = name == 'mask_dino' or any(part in FOUNDATIONS for part in prefixes(name))
        return top not in {'torch', '__future__', *sys.stdlib_module_names} and not own
    if module.startswith(('mask_dino.models', 'mask_dino.ops')):
        shells = ('mask_dino.det', 'mask_dino.seg', 'mmdet.models.detectors', 'mmseg')
        samples = name.startswith('mmdet.structures.') and name.split('.')[2] not in ('bbox', 'mask')
        return samples or name.endswith('DataSample') or any(part in shells for part in prefixes(name))
    if 'mask_dino.det' in prefixes(module):
        return top == 'mmseg'
    return 'mask_dino.seg' in prefixes(module) and 'mask_dino.det' in prefixes(name)


def package_graph() -> dict[str, set[str]]:
    """What each module of the package imports."""
    graph = {}
    for file in sorted(PACKAGE.rglob('*.py')):
        # Relative names count from the package, which is one level above `__init__` as above any other file.
        name = '.'.join(file.relative_to(ROOT).with_suffix('').parts)
        graph[name.removesuffix('.__init__')] = imports(file.read_text(), name)
    return graph


def test_budgets():
    found = [
        violation
        for file in sorted(PACKAGE.rglob('*.py'))
        for violation in check_budgets(file.read_text(), str(file.relative_to(PACKAGE)))
    ]
    broken = [violation for violation in found if (violation.place, violation.rule) not in EXCEPTIONS]
    assert not broken, '\n'.join(' '.join(violation) for violation in broken)
    stale = EXCEPTIONS.keys() - {(violation.place, violation.rule) for violation in found}
    assert not stale, f'exceptions that nothing needs: {stale}'


def test_import_rule():
    broken = list(check_imports(package_graph()))
    assert not broken, '\n'.join(' '.join(violation) for violation in broken)


def test_importing_the_package_loads_nothing_heavy():
    code = 'import mask_dino, sys; print(*sorted({"torch", "numpy", "mmengine", "mmcv"} & sys.modules.keys()))'
    loaded = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_no_leftovers():
    leftover = re.compile(r'\bTO[D]O\b|\bFIX[M]E\b|(?<![\w.])/(home|root|Users|work)/')
    kinds = {'.py', '.sh', '.md', '.txt', '.cfg', '.toml', '.yaml', '.yml'}
    folders = ('mask_dino', 'configs', 'projects', 'tools', 'tests', 'docs', 'requirements')
    files = [*ROOT.glob('*'), *(file for folder in folders for file in (ROOT / folder).rglob('*'))]
    texts = {file: file.read_text() for file in files if file.suffix in kinds and file.is_file()}
    found = [
        f'{file.relative_to(ROOT)}:{number}: {line.strip()}'
        for file, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if leftover.search(line)
    ]
    assert texts and not found, '\n'.join(found)


def broken_rules(source: str) -> list[str]:
    found = check_budgets(source, 'x.py')
    return [f'{violation.place.partition(":")[2]} {violation.rule}'.strip() for violation in found]


def function(body_lines: int, name: str = 'f') -> str:
    return f'def {name}():\n\t"""Doc\n\n\tof three lines."""\n' + '\tx = 1\n' * body_lines


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('x = 1\n' * 249, []),
        ('x = 1\n' * 250, ['lines']),
        (function(30), []),
        (function(31), ['f lines']),
        (function(25, 'forward'), []),
        (function(26, 'forward'), ['forward lines']),
        ('def f(): ...', ['f docstring']),
        ('def _f(): ...', []),
        ('class _A:\n\tdef f(self): ...', []),
        ('class A:\n\t"""Doc."""\n\tdef f(self): ...', ['A.f docstring']),
        ('def _f(a, b, c, d, e, /, f, *, g, h): ...', []),
        ('def _f(a, b, c, d, e, f, g, *h, **i): ...', ['_f arguments']),
        ('class _A:\n\tdef f(self, a, b, c, d, e, f, g, h): ...', []),
        ('class _A:\n\t@staticmethod\n\tdef f(i, a, b, c, d, e, f, g, h): ...', ['_A.f arguments']),
        ('class _A:\n\tdef __init__(self, a, b, c, d, e, f, g, h, i, j, k, l): ...', []),
        ('class _A:\n\tdef __init__(self, a, b, c, d, e, f, g, h, i, j, k, l, m): ...', ['_A.__init__ arguments']),
        ('def _f():\n\tfor x in y:\n\t\tif x: z()\n\t\telif y: z()\n\t\telse: z()', []),
        ('def _f():\n\tfor x in y:\n\t\twith x:\n\t\t\tif x: z()', ['_f nesting']),
        ('def _f():\n\tif x: y()\n\telif x:\n\t\twhile x:\n\t\t\tfor y in x: y()', ['_f nesting']),
        ('def _f():\n\ttry: y()\n\texcept E:\n\t\twhile x:\n\t\t\tif x: y()', ['_f nesting']),
        ('def _f():\n\tfor x in y:\n\t\tif x:\n\t\t\tdef g():\n\t\t\t\tfor x in y: z()', []),
        ('def _f():\n\tdef g(a, b, c, d, e, f, g, h, i): ...', ['_f.g arguments']),
    ],
)
def test_budgets_are_checked(source, expected):
    assert broken_rules(f'"""Doc."""\n{source}') == expected


def test_only_an_empty_module_needs_no_docstring():
    assert broken_rules('') == []
    assert broken_rules('x = 1\n') == ['docstring']


@pytest.mark.parametrize(
    ('module', 'source', 'broken'),
    [
        ('mask_dino.structures', 'import torch\nfrom typing import NamedTuple\nfrom torch import Tensor', False),
        ('mask_dino.boxes', 'from .structures import Targets', False),
        ('mask_dino.boxes', 'from mmdet.structures.bbox import bbox_cxcywh_to_xyxy', True),
        ('mask_dino.boxes', 'from .models.head import MaskDINOHead', True),
        ('mask_dino.models.head', 'from mmdet.models.layers import MLP\nfrom ..boxes import masks_to_boxes', False),
        ('mask_dino.models.head', 'from mmdet.structures import DetDataSample', True),
        ('mask_dino.models.head', 'def f():\n    import mmseg.models', True),
        ('mask_dino.models.head', 'from mmdet.models.detectors import MaskFormer', True),
        ('mask_dino.models.head', 'from .. import det', True),
        ('mask_dino.det', 'from mmdet.structures import DetDataSample', False),
        ('mask_dino.det', 'from mmseg.registry import MODELS', True),
        ('mask_dino.seg', 'from mmseg.registry import MODELS', False),
        ('mask_dino.seg', 'from mask_dino.det import MaskDINO', True),
    ],
)
def test_imports_are_checked(module, source, broken):
    graph = {'mask_dino': set(), 'mask_dino.det': set(), module: imports(source, module)}
    assert bool(list(check_imports(graph))) is broken


def test_imports_are_followed():
    graph = {
        'mask_dino.seg': imports('from .helper import x', 'mask_dino.seg'),
        'mask_dino.helper': imports('from .det import MaskDINO', 'mask_dino.helper'),
        'mask_dino.det': set(),
    }
    assert [violation.place for violation in check_imports(graph)] == ['mask_dino.seg'] * 2
