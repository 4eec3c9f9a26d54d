"""mmdet's COCO data set, which skips unusable objects and says what is wrong with its file."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.dist import is_main_process

from ..messages import DataError, Finding, error_messages
from .checks.annotations import Usage
from .checks.coco_file import check_coco
from .checks.images import file_problem, image_problem, size_problem
from .checks.json_file import no_garbage_collection, read_coco
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


COMPARES_ALL_MASKS = ContextVar('compares_all_masks', default=False)


@contextmanager
def comparing_all_masks() -> Iterator[None]:
    """Let data sets that are loaded in the body of the statement compare all masks with their boxes, not only some."""
    token = COMPARES_ALL_MASKS.set(True)
    try:
        yield
    finally:
        COMPARES_ALL_MASKS.reset(token)


class NamedFailures(BaseDataset):
    """Adds errors that name the file to a data set of mmdet; to be inherited before it.

    The annotation file is read once: what is wrong with it is found while it is loaded, in the main process.
    """

    findings: list[Finding] | None = None  # of the annotation file; None before it is loaded
    num_listed = 0  # images of the annotation file, before filter_cfg and indices leave some out

    def full_init(self) -> None:
        """Load the annotations.

        Raises:
            DataError: If they cannot be used.
        """
        try:
            # To search the many small lists of annotations for garbage would take longer than to load them.
            with no_garbage_collection():
                super().full_init()
        except DataError:
            raise
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
        """Return everything that is wrong with the annotation file.

        Raises:
            DataError: There is no such file, or it is not JSON.
        """
        if self.findings is None:
            self.findings = self.check_content(read_coco(self.ann_file, self.backend_args))
        return self.findings

    def check_content(self, content: Any) -> list[Finding]:
        """Report everything that is wrong with the content of the annotation file."""
        raise NotImplementedError

    def read_and_check(self) -> Any:
        """Return the content of the annotation file, and keep the findings about it.

        Raises:
            DataError: If there is no such file, or if it is not JSON.
        """
        content = read_coco(self.ann_file, self.backend_args)
        if is_main_process():
            self.findings = self.check_content(content)
        return content

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

    mmdet's data set stops at such objects, with an error that names neither file nor annotation, or trains on a wrong
    mask. Everything else, arguments included, is mmdet's.
    """

    def load_data_list(self) -> list[dict]:
        """Return the images with their objects, as mmdet does, without the indices of pycocotools.

        Raises:
            DataError: There is no such file, or it is not JSON.
        """
        content = self.read_and_check()
        self.num_listed = len(content['images'])
        classes = self.metainfo['classes']
        known = [category for category in content['categories'] if category['name'] in classes]
        self.cat_ids = [category['id'] for category in known]
        self.cat2label = {category_id: label for label, category_id in enumerate(self.cat_ids)}
        self.cat_img_map: dict[Any, list] = {category_id: [] for category_id in self.cat_ids}
        annotations = defaultdict(list)
        for annotation in content.get('annotations', ()):
            image_id = annotation['image_id']
            annotations[image_id].append(annotation)
            category_id = annotation['category_id']
            if category_id in self.cat_img_map:
                self.cat_img_map[category_id].append(image_id)
        return [
            self.parse_data_info(
                dict(
                    raw_img_info=image | dict(img_id=image['id']),
                    raw_ann_info=annotations.pop(image['id'], ()),
                )
            )
            for image in content['images']
        ]

    def check_content(self, content: Any) -> list[Finding]:
        """Report everything that is wrong with the content of the annotation file."""
        return check_content(self, content)

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
    own = (CocoDataset.load_data_list, CheckedCocoDataset.load_data_list)
    return dataset.COCOAPI is CocoDataset.COCOAPI and type(dataset).load_data_list in own


def loads_masks(dataset: BaseDataset) -> bool:
    """Tell whether the pipeline of a data set reads masks."""
    return any(getattr(transform, 'with_mask', False) for transform in dataset.pipeline.transforms)


def check_annotation_file(dataset: CocoDataset) -> list[Finding]:
    """Report everything that is wrong with the annotation file of a data set, mmdet's own or ours.

    Raises:
        DataError: There is no such file, or it is not JSON.
    """
    if isinstance(dataset, NamedFailures):
        return dataset.check_file()
    return check_content(dataset, read_coco(dataset.ann_file, dataset.backend_args))


def check_content(dataset: CocoDataset, content: Any) -> list[Finding]:
    """Report everything that is wrong with the content of the annotation file of a data set, mmdet's own or ours."""
    usage = Usage(loads_masks(dataset), isinstance(dataset, CheckedCocoDataset), dataset.test_mode)
    complete = COMPARES_ALL_MASKS.get()
    return check_coco(content, dataset.ann_file, dataset.metainfo['classes'], usage, complete)
