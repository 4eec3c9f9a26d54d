"""What mmdet's DetInferencer takes from panopticapi, without which it refuses panoptic results."""

from mmdet.apis import det_inferencer

from .datasets.panoptic.maps import id2rgb


def complete_inferencer() -> None:
    """Supply ``VOID``, the id of pixels without segment, and ``id2rgb`` where panopticapi is not installed."""
    if getattr(det_inferencer, 'VOID', 0) is None:
        det_inferencer.VOID, det_inferencer.id2rgb = 0, id2rgb
