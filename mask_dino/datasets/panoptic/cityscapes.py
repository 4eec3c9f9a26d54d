"""Cityscapes as panoptic data, which mmdet knows as instances and mmseg as classes alone."""

from mmdet.datasets import CityscapesDataset
from mmdet.registry import DATASETS

from .dataset import CheckedCocoPanopticDataset
from .file import PanopticImage

THINGS = CityscapesDataset.METAINFO
STUFF = {
    'road': (128, 64, 128),
    'sidewalk': (244, 35, 232),
    'building': (70, 70, 70),
    'wall': (102, 102, 156),
    'fence': (190, 153, 153),
    'pole': (153, 153, 153),
    'traffic light': (250, 170, 30),
    'traffic sign': (220, 220, 0),
    'vegetation': (107, 142, 35),
    'terrain': (152, 251, 152),
    'sky': (70, 130, 180),
}
META = dict(
    classes=(*THINGS['classes'], *STUFF),
    thing_classes=THINGS['classes'],
    stuff_classes=tuple(STUFF),
    palette=[*THINGS['palette'], *STUFF.values()],
)


@DATASETS.register_module()
class CityscapesPanopticDataset(CheckedCocoPanopticDataset):
    """The 19 classes of Cityscapes in COCO's panoptic format, as written by its ``createPanopticImgs.py``.

    That tool names the images after the files of labels; they lie in folders of their cities.
    """

    METAINFO = META

    def describe(self, image: PanopticImage) -> dict:
        """Return an image in mmdet's form."""
        city = image.file_name.partition('_')[0]
        return super().describe(image._replace(file_name=f'{city}/{image.file_name.replace("_gtFine_", "_")}'))
