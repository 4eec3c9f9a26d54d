"""Loading label maps for training."""

from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from ..messages import DataError


@TRANSFORMS.register_module()
class LoadLabelMap(LoadAnnotations):
    """mmseg's LoadAnnotations, which refuses a map of another size than its image.

    Not all maps can be looked at before training, and the transforms that follow would make such a map fit. Test
    pipelines keep mmseg's own: its inferencer takes that out by its name.
    """

    def transform(self, results: dict) -> dict:
        """Load the label map of an image.

        Raises:
            DataError: If the map has another size than the image, or more than one channel.
        """
        results = super().transform(results)
        found, wanted = results['gt_seg_map'].shape, tuple(results['ori_shape'][:2])
        if found != wanted:
            raise DataError(
                f'{results["seg_map_path"]} is a label map of shape {found}, but its image {results.get("img_path")} '
                f'is {wanted} (height, width): save the class of every pixel of the image, in one channel'
            )
        return results
