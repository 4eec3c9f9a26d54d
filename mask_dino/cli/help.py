"""What the command-line tools share: their help, types of their arguments, lines about their progress.

It imports only the standard library: some tools measure their memory, or start before the packages are checked.
"""

import argparse
import shutil
import textwrap
import time
from collections.abc import Callable

EXIT_CODES = '0: done; 1: an error, which the last line names; 2: wrong arguments'
"""What the exit codes of most tools mean."""
WIDEST = 100


class _KeepLines(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the text above and below the arguments, and uses the whole terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_find_width())


def make_parser(
    description: str, *examples: str, exit_codes: str = EXIT_CODES, prog: str | None = None
) -> argparse.ArgumentParser:
    """Return the parser of a tool.

    Args:
        description: What the tool does; paragraphs are wrapped, and indented ones keep their lines.
        examples: Commands that work as they stand, apart from names of files.
        exit_codes: What the exit codes mean.
        prog: How the tool is called; None takes the name of its file.
    """
    paragraphs = [_wrap(paragraph) for paragraph in description.strip('\n').split('\n\n')]
    lines = [
        'examples:' if len(examples) > 1 else 'example:',
        *(f'  {example}' for example in examples),
        '',
        _wrap(f'exit codes: {exit_codes}'),
    ]
    return argparse.ArgumentParser(
        prog=prog,
        description='\n\n'.join(paragraphs),
        epilog='\n'.join(lines),
        formatter_class=_KeepLines,
    )


def _wrap(paragraph: str) -> str:
    """Return a paragraph in lines of the terminal; an indented one, such as a command, stays as it is."""
    if paragraph.startswith(' '):
        return paragraph
    return textwrap.fill(' '.join(paragraph.split()), _find_width(), break_on_hyphens=False)


def _find_width() -> int:
    return min(shutil.get_terminal_size().columns - 2, WIDEST)


def positive(text: str) -> int:
    """Read a number of 1 or more."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """Read a number of 0 or more."""
    return _at_least(0, text)


def _at_least(lowest: int, text: str) -> int:
    number = int(text)
    if number < lowest:
        raise argparse.ArgumentTypeError(f'{text}: give {lowest} or more')
    return number


def size(text: str) -> tuple[int, int]:
    """Read height and width: ``512`` or ``800x1333``."""
    height, _, width = text.partition('x')
    try:
        return positive(height), positive(width or height)
    except (argparse.ArgumentTypeError, ValueError):
        raise argparse.ArgumentTypeError(
            f'{text}: write a size in pixels as 512 or as HEIGHTxWIDTH, 800x1333'
        ) from None


def start_clock() -> Callable[[str], None]:
    """Return a function that prints a line, with the seconds since this call before it."""
    start = time.monotonic()

    def say(text: str) -> None:
        print(f'[{time.monotonic() - start:5.1f} s] {text}', flush=True)

    return say
