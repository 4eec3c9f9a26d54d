"""Panoptic annotations in a pipeline."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks

from .maps import Segment, read_map

VOID = 255
"""Value of gt_seg_map where nothing is known."""


@TRANSFORMS.register_module()
class LoadCocoPanopticAnnotations(BaseTransform):
    """Loads the segments of an image, as mmdet's LoadPanopticAnnotations does with panopticapi.

    Things become ``gt_masks``, ``gt_bboxes`` and ``gt_bboxes_labels``, things and stuff ``gt_seg_map`` (H, W) with
    the class of every pixel. Other than there, crowd regions are nowhere: they are void (255) in the map, since
    nobody said where in them things are. Boxes are those of the masks, as in the original.
    """

    with_mask = True

    def transform(self, results: dict) -> dict:
        """Add the annotations; where there is no map, as in inference, nothing.

        Raises:
            DataError: If the map is missing or does not fit the segments.
        """
        if results.get('seg_map_path') is None:
            return results
        infos = results['segments_info']
        segments = [Segment(info['id'], info['category'], info['iscrowd'], None) for info in infos]
        size = (results['height'], results['width'])
        found = read_map(results['seg_map_path'], segments, size)
        results['gt_seg_map'] = found.label_pixels(VOID, crowds=False)
        things = [number for number, info in enumerate(infos, start=1) if info['is_thing']]
        masks = BitmapMasks([(found.pixels == number).astype(np.uint8) for number in things], *size)
        results['gt_masks'] = masks
        results['gt_bboxes'] = masks.get_bboxes('hbox')
        results['gt_bboxes_labels'] = found.labels[np.array(things, np.int64) - 1]
        results['gt_ignore_flags'] = np.zeros(len(things), bool)
        return results
