"""What checks of data and models find, and how it is put into words."""

import logging
from collections.abc import Iterable
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


def note(message: str) -> Finding:
    """Return a finding that is no problem."""
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


def number(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'


def some(items: Iterable[object], limit: int = 10, separator: str = ', ') -> str:
    """Write the first items of what may be many, and the number of the others."""
    listed = [str(item) for item in items]
    rest = len(listed) - limit
    return separator.join(listed[:limit]) + (f' and {rest} more' if rest > 0 else '')
