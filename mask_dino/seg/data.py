"""Label maps and images for MMSegmentation: loading, the data set Shapes and drawing."""

from typing import ClassVar

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, LoadImageFromNDArray
from mmseg.registry import DATASETS, TRANSFORMS, VISUALIZERS
from mmseg.visualization import SegLocalVisualizer

from ..datasets.shapes import CLASSES, PALETTE
from ..messages import DataError


@TRANSFORMS.register_module()
class LoadLabelMap(LoadAnnotations):
    """mmseg's LoadAnnotations, but it refuses a map whose size differs from its image.

    The check before training reads only some of the maps, and later transforms would resize a wrong map without a
    word. Test pipelines keep mmseg's LoadAnnotations, because its inferencer removes it by this name.
    """

    def transform(self, results: dict) -> dict:
        """Load the label map of an image.

        Raises:
            DataError: If the map has another size than the image, or more than one channel.
        """
        results = super().transform(results)
        map_shape = results['gt_seg_map'].shape
        image_size = tuple(results['ori_shape'][:2])
        if map_shape != image_size:
            raise DataError(
                f'{results["seg_map_path"]} is a label map of shape {map_shape}, but {results.get("img_path")} '
                f'is {image_size} (height, width): save the class of every pixel of the image, in one channel'
            )
        return results


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Images and label maps that ``make_shapes.py`` writes.

    It is a class of its own because mmseg's tools read the names of the classes from the type of the data set.
    """

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=[list(colour) for colour in PALETTE])


@VISUALIZERS.register_module()
class SemanticVisualizer(SegLocalVisualizer):
    """mmseg's visualizer, for images in any memory layout.

    OpenCV draws only on contiguous arrays, and mmseg's ``browse_dataset.py`` passes other arrays.
    """

    def add_datasample(self, name: str, image: np.ndarray, *args: object, **kwargs: object) -> None:
        """Draw a data sample (image: (H, W, 3)); mmseg's visualizer has the same arguments."""
        super().add_datasample(name, np.ascontiguousarray(image), *args, **kwargs)


@TRANSFORMS.register_module(name='LoadImageFromNDArray', force=True)
class LoadImageFromArrayOrFile(LoadImageFromNDArray):
    """Loads arrays, as mmseg's class of this name does, and also files.

    ``inference_model`` chooses one transform for all images of a list, by the first of them.
    """

    def transform(self, results: dict) -> dict:
        """Take the image in ``results['img']``, or read the file ``results['img_path']``."""
        load = LoadImageFromNDArray if 'img' in results else LoadImageFromFile
        loaded: dict = load.transform(self, results)
        return loaded
