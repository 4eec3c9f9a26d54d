"""What a person sees of a run: the console shows what matters, and the log file has everything."""

import contextlib
import functools
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TextIO

from mmengine.logging import MMLogger

FILE_ONLY = 'file_only'
"""Attribute of a log record that the console does not show."""
DETAILS = (
    '\n----',  # the environment
    'Config:\n',
    'Hooks will be executed',
    'paramwise_options',
    'Distributed training is not used',
    'Load checkpoint from',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'The prefix is not set in metric class',
    'Resumed iteration number is not divisible',  # the gradients that it says are lost are in the checkpoint
    'Exp name: ',
    'bbox, at most',  # the line of the validation or test has the same figures
    'segm, at most',
    'proposal, at most',
)
"""Beginnings of messages for which the log file is enough."""
FRAMEWORK_FOLDERS = {'mmcv', 'mmdet', 'mmengine', 'mmseg'}
"""Folders of the packages whose Python warnings are only for their developers."""
show_on_console = warnings.showwarning
SAME_RATES = re.compile(r'base_lr: (\S+) (?=lr: \1\s)')
"""In a line of a training, the base learning rate if the learning rate equals it."""
PARTIAL_LOSSES = re.compile(r'\s+(?:\w+\.)?(?:d\d+\.\w+|(?:enc|dn|aux)_[\w.]*): \S+')
"""In a line of a training, the losses of single layers; the total and the losses of the last layer stay."""


class Writer(Protocol):
    """Part of a handler that makes text of a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text."""


class ConsoleFormatter(logging.Formatter):
    """Another formatter, without the losses of single layers and a learning rate that is there twice.

    Args:
        formatter: The formatter that makes the text.
    """

    def __init__(self, formatter: Writer) -> None:
        super().__init__()
        self.formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        text = self.formatter.format(record)
        if '(train)' not in text:
            return text
        return SAME_RATES.sub('', PARTIAL_LOSSES.sub('', text))


class ConsoleFilter(logging.Filter):
    """Lets errors pass, and other records once, unless they are known details or only for the file."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the console shows a record."""
        if record.levelno >= logging.ERROR:
            return True
        message = record.getMessage()
        if message.startswith(DETAILS) or FILE_ONLY in vars(record) or message in self.shown:
            return False
        self.shown.add(message)
        return True


def quiet_console(logger: MMLogger) -> None:
    """Keep details from the console, and name the file that has them. A second call changes nothing."""
    for handler in logger.handlers:
        is_console = type(handler) is logging.StreamHandler
        if not is_console or isinstance(handler.formatter, ConsoleFormatter):
            continue
        handler.addFilter(ConsoleFilter())
        handler.setFormatter(ConsoleFormatter(handler.formatter or logging.Formatter()))
    warnings.showwarning = functools.partial(show_warning, logger)
    files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    if files:
        logger.info(f'everything about this run: {files[0].baseFilename}')


def show_warning(
    logger: MMLogger,
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a Python warning of a framework to the file, and show others; the arguments are Python's own.

    Args:
        logger: The logger whose file gets the warnings.
    """
    is_of_framework = FRAMEWORK_FOLDERS.intersection(Path(filename).parts)
    if not is_of_framework:
        show_on_console(message, category, filename, lineno, file, line)
        return
    text = warnings.formatwarning(message, category, filename, lineno, line)
    logger.warning(text.strip(), extra={FILE_ONLY: True})


@contextlib.contextmanager
def log_prints(logger: MMLogger) -> Iterator[None]:
    """Send what libraries print inside this context to the log file, and not to the console."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        text = printed.getvalue().strip()
        if text:
            logger.info(text, extra={FILE_ONLY: True})
