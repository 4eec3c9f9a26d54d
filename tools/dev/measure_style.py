"""Print the figures by which the style of the code is judged: python tools/dev/measure_style.py [FOLDER OR FILE ...].

Everything is read from syntax trees; nothing is imported. `tests/test_style.py` uses the same definition of density.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from mask_dino.cli.help import make_parser

ROOT = Path(__file__).resolve().parents[2]
CORE = ('mask_dino/models', 'mask_dino/structures.py', 'mask_dino/boxes.py')
DENSITY_LIMIT = 18  # syntax-tree nodes per line
DENSITY_LINES = 4  # shorter functions have no limit: one expression fills them
TENSORS = re.compile(r'\b(Tensor|ndarray|NDArray)\b')
# "(B, Q, 4)", "(N,)", "(..., H, W)", "(2 * H, W)"; a lower-case word in parentheses is no shape.
SHAPE = re.compile(r'\((\.\.\.|\*|[A-Z0-9])[^()]*,[^()]*\)|\bscalar\b')


class Function(NamedTuple):
    """One function or method, as the figures need it."""

    place: str  # file, colon, dotted name
    line: int
    length: int  # lines of its body, without the docstring
    density: float  # syntax-tree nodes of its body per line
    arguments: int  # without self and cls
    public: bool  # neither its name nor a name around it begins with an underscore
    takes_tensors: bool
    names_shapes: bool  # its docstring or the docstring of its class gives a shape


def read_functions(file: Path) -> Iterator[Function]:
    """Yield every function of a file that has a body besides its docstring."""
    tree = ast.parse(file.read_text())
    place = str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file)
    yield from _read_scope(tree, f'{place}:', public=True, docstring='')


def _read_scope(scope: ast.AST, prefix: str, public: bool, docstring: str) -> Iterator[Function]:
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from _read_scope(node, prefix, public, docstring)
            continue
        place = f'{prefix}{node.name}'
        visible = public and not node.name.startswith('_')
        own = ast.get_docstring(node) or ''
        if isinstance(node, ast.ClassDef):
            yield from _read_scope(node, f'{place}.', visible, own)
            continue
        if body := body_without_docstring(node):
            length = body[-1].end_lineno - body[0].lineno + 1
            yield Function(
                place=place,
                line=node.lineno,
                length=length,
                density=sum(1 for statement in body for _ in ast.walk(statement)) / length,
                arguments=len(
                    [
                        argument
                        for argument in _arguments(node)
                        if argument.arg not in ('self', 'cls')
                    ]
                ),
                public=visible,
                takes_tensors=any(_is_tensor(argument) for argument in _arguments(node)),
                names_shapes=bool(SHAPE.search(f'{own} {docstring}')),
            )
        # A function inside a function is nobody else's business: private.
        yield from _read_scope(node, f'{place}.', False, '')


def body_without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    """Return the statements of a function, without its docstring."""
    return node.body[1:] if ast.get_docstring(node) else node.body


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    names = node.args
    variable = [argument for argument in (names.vararg, names.kwarg) if argument]
    return [*names.posonlyargs, *names.args, *names.kwonlyargs, *variable]


def _is_tensor(argument: ast.arg) -> bool:
    if argument.annotation is None:
        return False
    annotation = ast.unparse(argument.annotation)
    # Dictionaries hold tensors of any shape under their names, and functions are documented where they are defined.
    is_collection = annotation.startswith(('Mapping[', 'dict[', 'Callable['))
    return not is_collection and TENSORS.search(annotation) is not None


def find_dense(functions: list[Function]) -> list[Function]:
    """Return the functions above the limit of density, the densest first."""
    dense = [
        function
        for function in functions
        if function.length >= DENSITY_LINES and function.density > DENSITY_LIMIT
    ]
    return sorted(dense, key=lambda function: -function.density)


def find_files(paths: list[Path]) -> list[Path]:
    """Return the Python files among the paths and in their folders."""
    files = []
    for path in paths:
        files += sorted(path.rglob('*.py')) if path.is_dir() else [path]
    return files


def describe(files: list[Path]) -> str:
    """Return the figures of some files as a table."""
    lengths = [len(file.read_text().splitlines()) for file in files]
    functions = [function for file in files for function in read_functions(file)]
    long = [function for function in functions if function.length >= DENSITY_LINES]
    with_tensors = [
        function for function in functions if function.public and function.takes_tensors
    ]
    with_shapes = sum(function.names_shapes for function in with_tensors)
    rows = {
        'lines': str(sum(lengths)),
        'files': f'{len(files)}, {sum(length < 60 for length in lengths)} of them under 60 lines',
        'lines of a file, median, maximum': f'{median(lengths):g}, {max(lengths)}',
        'functions': f'{len(functions)}, {len(long)} of them of {DENSITY_LINES} lines or more',
        'lines of a function, median, 90 %, maximum': _spread(
            [function.length for function in functions], '.0f'
        ),
        'density, median, 90 %, maximum': _spread([function.density for function in long], '.1f'),
        'functions above 18, above 20': ', '.join(
            str(sum(f.density > limit for f in long)) for limit in (18, 20)
        ),
        'public functions that take tensors': str(len(with_tensors)),
        'of these with shapes in the docstring': f'{with_shapes} ({with_shapes / max(1, len(with_tensors)):.0%})',
    }
    return '\n'.join(f'{name:44}{value}' for name, value in rows.items())


def _spread(values: list[float], form: str) -> str:
    """Median, 90th percentile and maximum."""
    ninety = quantiles(values, n=10)[-1] if len(values) > 1 else values[0]
    return ', '.join(f'{value:{form}}' for value in (median(values), ninety, max(values)))


def main() -> None:
    """Print the figures of the package and of its core, or of what is named."""
    parser = make_parser(
        'Print lengths, density and documentation of Python code.',
        'python tools/dev/measure_style.py mask_dino/models --dense',
        exit_codes='0: done; 2: wrong arguments',
    )
    parser.add_argument(
        'paths',
        nargs='*',
        type=Path,
        help='folders and files (default: the package, then its core)',
    )
    parser.add_argument(
        '--dense', action='store_true', help='also list the functions above the limit of density'
    )
    args = parser.parse_args()
    groups = (
        {'': args.paths}
        if args.paths
        else {
            'Package': [ROOT / 'mask_dino'],
            'Core: models, structures, boxes': [ROOT / path for path in CORE],
        }
    )
    for title, paths in groups.items():
        files = find_files(paths)
        print(f'{title}\n{describe(files)}\n' if title else describe(files))
    if args.dense:
        files = find_files(args.paths or [ROOT / 'mask_dino'])
        for function in find_dense(
            [function for file in files for function in read_functions(file)]
        ):
            print(
                f'{function.density:5.1f} {function.length:3d} lines {function.place} (line {function.line})'
            )


if __name__ == '__main__':
    main()
