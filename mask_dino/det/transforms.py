"""Transforms of MMDetection's pipelines."""

from mmcv.transforms import BaseTransform
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
