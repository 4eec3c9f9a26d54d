"""Findings of checks, the error that ends a run, and the wording that messages share."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Finding(NamedTuple):
    """One thing worth telling the user; a problem comes with the file, the field and the remedy."""

    level: int  # logging.INFO, logging.WARNING or logging.ERROR
    message: str


class DataError(ValueError):
    """Data cannot be used, or do not fit the model: the message names the file, the field and the remedy."""

    def __init__(self, *problems: str) -> None:
        heading = f'{len(problems)} problems with data or config:\n- ' if len(problems) > 1 else ''
        super().__init__(heading + '\n- '.join(problems))


class PredictionError(DataError):
    """A model predicts values that no metric can use: the message names the image, the field and the remedy."""


def note(message: str) -> Finding:
    """Return a finding that is not a problem."""
    return Finding(logging.INFO, message)


def warning(message: str) -> Finding:
    """Return a finding that the user should know of, but that the run survives."""
    return Finding(logging.WARNING, message)


def error(message: str) -> Finding:
    """Return a finding that forbids training and testing."""
    return Finding(logging.ERROR, message)


def error_messages(findings: Iterable[Finding]) -> list[str]:
    """Return the messages of the errors among the findings."""
    return [finding.message for finding in findings if finding.level >= logging.ERROR]


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'


def first_few(items: Iterable[object], limit: int = 10, separator: str = ', ') -> str:
    """Write the first items of a list that may be long, and the number of the others."""
    listed = [str(item) for item in items]
    rest = len(listed) - limit
    return separator.join(listed[:limit]) + (f' and {rest} more' if rest > 0 else '')


def missing_file(kind: str, path: str | Path) -> str:
    """Say that a file does not exist, and where relative paths start; ``kind`` is 'config' or 'checkpoint'."""
    return f'{kind} {path} does not exist; relative paths start at {Path.cwd()}'


def is_url(path: str) -> bool:
    """Tell whether a path names a web page or a store that mmengine reads by its backends, not a local file."""
    return '://' in path


def spread_evenly(count: int, limit: int) -> range:
    """Return the indices of at most ``limit`` of ``count`` items, evenly spread; all of them if they are that few."""
    return range(0, count, max(-(-count // max(limit, 1)), 1))


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, with aligned columns."""
    lines = [header, *rows]
    columns = zip(*lines, strict=True)  # all cells of the first column, then of the second
    widths = [max(len(cell) for cell in column) for column in columns]
    separator = ['-' * width for width in widths]
    formatted = []
    for line in (header, separator, *rows):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        formatted.append(f'| {" | ".join(cells)} |')
    return '\n'.join(formatted)
