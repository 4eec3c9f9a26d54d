"""Loading label maps for training."""

from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

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
