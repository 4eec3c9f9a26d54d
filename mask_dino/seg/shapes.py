"""Shapes as MMSegmentation reads it."""

from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..datasets.shapes.options import CLASSES, PALETTE


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Images and maps of class indices, as ``make_shapes.py`` writes them.

    mmseg's tools look for the classes at the type of the data set.
    """

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=[list(colour) for colour in PALETTE])
