"""The classes that a checkpoint was trained on, compared with the classes of a data set."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..messages import first_few

NUM_EXAMPLES = 2
NUM_LISTED = 20


class ClassDifference(NamedTuple):
    """How the classes of a data set differ from the classes of a checkpoint, which are not equal."""

    trained: tuple[str, ...]  # in the checkpoint
    expected: tuple[str, ...]  # in the data set

    @property
    def is_spelling(self) -> bool:
        """Whether each name differs in nothing but case, spaces, hyphens and underscores."""
        return [_normalize(name) for name in self.trained] == [
            _normalize(name) for name in self.expected
        ]

    @property
    def is_order(self) -> bool:
        """Whether the names are the same, in another order."""
        return sorted(map(_normalize, self.trained)) == sorted(map(_normalize, self.expected))

    @property
    def same_count(self) -> bool:
        """Whether class layers fit."""
        return len(self.trained) == len(self.expected)

    def __str__(self) -> str:
        """Return what differs, with the first examples."""
        if not self.same_count:
            return (
                f'the checkpoint has {len(self.trained)} classes ({first_few(self.trained, 3)}) and the data set has '
                f'{len(self.expected)} ({first_few(self.expected, 3)})'
            )
        pairs = zip(self.trained, self.expected, strict=True)
        differing = [(index, old, new) for index, (old, new) in enumerate(pairs) if old != new]
        examples = [
            f'class {index} is {old!r} in the checkpoint and {new!r} in the data set'
            for index, old, new in differing[:NUM_EXAMPLES]
        ]
        return f'{len(differing)} of {len(self.trained)} names differ: {"; ".join(examples)}'


def read_classes(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes that a checkpoint of MMDetection or MMSegmentation states; None if it states none.

    Version 2 of MMDetection and version 0 of MMSegmentation write ``meta['CLASSES']``.
    """
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    dataset_meta = meta.get('dataset_meta')
    stated = dict(meta)
    if isinstance(dataset_meta, dict):
        stated |= dataset_meta
    lowered = {str(key).lower(): value for key, value in stated.items()}
    return to_names(lowered.get('classes'))


def to_names(classes: object) -> tuple[str, ...] | None:
    """Return class names as a tuple; None if there are none."""
    return tuple(map(str, classes)) if isinstance(classes, (list, tuple)) and classes else None


def find_difference(
    trained: tuple[str, ...] | None, expected: tuple[str, ...] | None
) -> ClassDifference | None:
    """Compare the classes of a checkpoint with the classes of a data set; None if they are equal or unknown."""
    if trained is None or expected is None or trained == expected:
        return None
    return ClassDifference(trained, expected)


def describe_remedy(difference: ClassDifference, field: str) -> str:
    """Say how to test or resume with the classes of a checkpoint.

    Args:
        field: The data set in the config.
    """
    classes = "the order in the checkpoint's meta['dataset_meta']['classes']"
    if len(difference.trained) <= NUM_LISTED:
        classes = repr(difference.trained)
    if difference.is_order:
        return f'Set {field}.metainfo=dict(classes={classes}), which is the order that the model has learned.'
    return (
        f'Use data of the classes that the model has learned: {classes}. If only the names of the classes changed, '
        f"write the names of {field}.metainfo into the checkpoint's meta['dataset_meta']['classes']. To learn other "
        'classes, train with load_from=CHECKPOINT and without resume.'
    )


def _normalize(name: str) -> str:
    return re.sub(r'[\s_-]+', ' ', name.strip().lower())
