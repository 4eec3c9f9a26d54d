"""Transforms of MMDetection's pipelines."""

from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmdet.datasets.transforms import LoadImageFromNDArray
from mmdet.registry import TRANSFORMS

from ..inferencers import to_three_channels


@TRANSFORMS.register_module()
class ToThreeChannels(BaseTransform):
    """Gives a grey image three equal channels, and drops transparency."""

    def transform(self, results: dict) -> dict:
        """Change ``results['img']``, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

        Raises:
            ValueError: If the image has another shape.
        """
        results['img'] = to_three_channels(results['img'])
        return results


@TRANSFORMS.register_module(name='LoadImageFromNDArray', force=True)
class LoadImageFromArrayOrFile(LoadImageFromNDArray):
    """Loads arrays, as mmdet's class of this name does, and also files.

    ``inference_detector`` chooses one transform for all images of a list, by the first of them.
    """

    def transform(self, results: dict) -> dict:
        """Take the image in ``results['img']``, or read the file ``results['img_path']``."""
        load = LoadImageFromNDArray if 'img' in results else LoadImageFromFile
        loaded: dict = load.transform(self, results)
        return loaded
