"""Shapes as MMSegmentation reads it."""

from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .shapes.world import STUFF, THINGS


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Images and maps of class indices, as ``make_shapes.py`` writes them.

    mmseg's tools look for the classes at the type of the data set.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=THINGS + STUFF,
        palette=[
            [230, 57, 70],
            [255, 183, 3],
            [6, 167, 125],
            [157, 78, 221],
            [255, 112, 166],
            [142, 202, 230],
            [188, 138, 95],
            [33, 104, 181],
        ],
    )
