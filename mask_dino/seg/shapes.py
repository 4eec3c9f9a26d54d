"""Shapes as MMSegmentation reads it."""

from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..datasets.shapes.options import CLASSES, PALETTE


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Images and label maps that ``make_shapes.py`` writes.

    It is a class of its own because mmseg's tools read the names of the classes from the type of the data set.
    """

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=[list(colour) for colour in PALETTE])
