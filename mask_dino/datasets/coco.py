"""mmdet's COCO data set, made to cope with unusable objects and to say what is wrong with a file."""

from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from ..messages import DataError, Finding, error_messages
from .checks.annotations import Usage
from .checks.coco_file import check_coco, read_coco
from .checks.images import file_problem, image_problem, size_problem
from .checks.masks import usable_mask

LOADING_ERRORS = (
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)
"""What mmdet raises where a file is not in the form that it expects."""
NO_IMAGE_LEFT = (
    'the data set has no image left ({}). Correct filter_cfg, indices or metainfo.classes of the dataset: filter_cfg '
    'removes small images, and images without objects of these classes'
)


class NamedFailures(BaseDataset):
    """Adds errors that name the file to a data set of mmdet; to be inherited before it."""

    def full_init(self) -> None:
        """Load the annotations.

        Raises:
            DataError: If they cannot be used.
        """
        try:
            super().full_init()
        except LOADING_ERRORS as reason:
            if problems := error_messages(self.check_file()):
                raise DataError(*problems) from reason
            # mmengine cannot store a list without images.
            if not self.data_list and isinstance(reason, ValueError):
                raise DataError(NO_IMAGE_LEFT.format(self.ann_file)) from reason
            raise DataError(
                f'{self.ann_file} cannot be loaded: {type(reason).__name__}: {reason}'
            ) from reason

    def check_file(self) -> list[Finding]:
        """Report everything that is wrong with the annotation file."""
        raise NotImplementedError

    def prepare_data(self, idx: int) -> Any:
        """Return what the pipeline makes of an image.

        Raises:
            DataError: If the image is damaged, is not of the size that its annotations give, or fails in the pipeline.
        """
        info = self.get_data_info(idx)
        path, stated = info['img_path'], (info['width'], info['height'])
        try:
            sample = self.pipeline(info)
        except DataError:
            raise
        except Exception as reason:
            problem = image_problem(path, stated, decode=True)
            raise DataError(problem or f'{path}: {type(reason).__name__}: {reason}') from reason
        if problem := file_problem(path) or size_problem(path, _loaded_size(sample), stated):
            raise DataError(problem)
        return sample


@DATASETS.register_module()
class CheckedCocoDataset(NamedFailures, CocoDataset):
    """COCO data set that skips objects without a usable mask and names the file in every failure.

    mmdet's own stops at such objects, with an error that names neither file nor annotation, or trains on whatever
    they decode to. Everything else, arguments included, is mmdet's.
    """

    def check_file(self) -> list[Finding]:
        """Report everything that is wrong with the annotation file."""
        return check_annotation_file(self)

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Return image and objects as mmdet does, without the objects that have no usable mask."""
        info: dict = super().parse_data_info(raw_data_info)
        if loads_masks(self):
            info['instances'] = [
                instance | dict(mask=mask)
                for instance in info['instances']
                if (mask := usable_mask(instance.get('mask'), info['width'], info['height']))
            ]
        return info


def _loaded_size(sample: Any) -> tuple[int, int] | None:
    """Return width and height of the image as it was loaded, which a packed sample knows."""
    shape = (
        getattr(sample.get('data_samples'), 'ori_shape', None) if isinstance(sample, dict) else None
    )
    return (shape[1], shape[0]) if shape else None


def reads_coco(dataset: Any) -> bool:
    """Tell whether a data set reads its file as mmdet's CocoDataset does; some of its children do not."""
    if not isinstance(dataset, CocoDataset):
        return False
    return (
        dataset.COCOAPI is CocoDataset.COCOAPI
        and type(dataset).load_data_list is CocoDataset.load_data_list
    )


def loads_masks(dataset: CocoDataset) -> bool:
    """Tell whether the pipeline of a data set reads masks."""
    return any(getattr(transform, 'with_mask', False) for transform in dataset.pipeline.transforms)


def check_annotation_file(dataset: CocoDataset, complete: bool = False) -> list[Finding]:
    """Report everything that is wrong with the annotation file of a data set, mmdet's own or ours.

    Args:
        complete: Whether to compare all masks with their boxes; otherwise some, evenly spread.
    """
    content = read_coco(dataset.ann_file, dataset.backend_args)
    usage = Usage(loads_masks(dataset), isinstance(dataset, CheckedCocoDataset), dataset.test_mode)
    return check_coco(content, dataset.ann_file, dataset.metainfo['classes'], usage, complete)
