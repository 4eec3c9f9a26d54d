"""Tables of results in the log, in the form of mmdet's."""

from collections.abc import Mapping, Sequence

import numpy as np
from terminaltables import AsciiTable

from .quality import Quality


def quality_table(averages: Mapping[str, Quality]) -> str:
    """Return the table of averages, a row for each kind of classes."""
    rows = [
        [kind, *(f'{value:.3f}' for value in quality[:3]), str(quality.classes)] for kind, quality in averages.items()
    ]
    return str(AsciiTable([['', 'PQ', 'SQ', 'RQ', 'categories'], *rows]).table)


def class_table(qualities: np.ndarray, classes: Sequence[str]) -> str:
    """Return the table of PQ, SQ and RQ (C, 3) of classes."""
    rows = [[name, *(f'{value:.3f}' for value in row)] for name, row in zip(classes, qualities, strict=True)]
    return str(AsciiTable([['category', 'PQ', 'SQ', 'RQ'], *rows]).table)


def iou_table(ious: np.ndarray, classes: Sequence[str]) -> str:
    """Return the table of IoUs (C,) of classes."""
    rows = [[name, f'{value:.3f}'] for name, value in zip(classes, ious, strict=True)]
    return str(AsciiTable([['category', 'IoU'], *rows]).table)
