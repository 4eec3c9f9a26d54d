"""mmdet's COCO panoptic data set, without crowds among the objects, and with messages that name files."""

import os.path as osp
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmdet.datasets import ADE20KPanopticDataset, CityscapesDataset, CocoPanopticDataset
from mmdet.registry import DATASETS

from ..messages import DataError, Finding, error, first_few, plural, spread_evenly
from .checks.json_file import read_coco
from .checks.panoptic import check_panoptic
from .coco import NamedFailures
from .panoptic_png import Segment, read_panoptic_map


class PanopticImage(NamedTuple):
    """An image with its segments; those without annotation, as in test sets, have no map."""

    id: Any
    file_name: str
    size: tuple[int, int]  # height, width in pixels
    map_name: str | None
    segments: list[Segment]
    boxes: list[list[float]]  # x, y, width, height of each segment


def parse_images(content: Mapping[str, Any], classes: Sequence[str]) -> list[PanopticImage]:
    """Return the images of a file, in its order, with labels by the order of the classes."""
    labels = {name: label for label, name in enumerate(classes)}
    categories = {
        category['id']: labels.get(category['name']) for category in content['categories']
    }
    annotations = {
        annotation['image_id']: annotation for annotation in content.get('annotations', ())
    }
    images = []
    for image in content['images']:
        annotation = annotations.get(image['id'])
        images.append(_parse_image(image, annotation, categories))
    return images


def _parse_image(
    image: dict, annotation: dict | None, categories: Mapping[Any, int | None]
) -> PanopticImage:
    segments = annotation['segments_info'] if annotation else []
    return PanopticImage(
        image['id'],
        image['file_name'],
        (image['height'], image['width']),
        annotation['file_name'] if annotation else None,
        [
            Segment(s['id'], categories[s['category_id']], bool(s.get('iscrowd', 0)), s.get('area'))
            for s in segments
        ],
        [s['bbox'] for s in segments],
    )


MAPS = 200
"""Panoptic maps of a data set, evenly spread, that are read beforehand; the others are checked when loaded."""


@DATASETS.register_module()
class CheckedCocoPanopticDataset(NamedFailures, CocoPanopticDataset):
    """COCO panoptic data set for training, validation and test sets whose annotations are secret.

    The arguments are the same as in mmdet. Three things differ from mmdet's data set. That one lists crowds as stuff of
    a thing's class. It looks for the PNG by the name of the image, not by the name in the JSON file. It does not report
    what does not fit.
    """

    def load_data_list(self) -> list[dict]:
        """Return the images with their segments; segments of classes that the config leaves out are void.

        Raises:
            DataError: There is no such file, or it is not JSON.
        """
        content = self.read_and_check()
        classes = self.metainfo['classes']
        categories = content['categories']
        known = [category for category in categories if category['name'] in classes]
        self.cat_ids = [category['id'] for category in known]
        labels = range(len(self.cat_ids))
        self.cat2label = dict(zip(self.cat_ids, labels, strict=True))
        images = parse_images(content, classes)
        self.num_listed = len(images)
        return [self.describe(image) for image in images]

    def describe(self, image: PanopticImage) -> dict:
        """Return an image in mmdet's form."""
        things = len(self.metainfo['thing_classes'])
        infos, instances = [], []
        for segment, (x, y, w, h) in zip(image.segments, image.boxes, strict=True):
            label = segment.label
            is_thing = label is not None and label < things and not segment.is_crowd
            infos.append(
                dict(
                    id=segment.id,
                    category=label,
                    is_thing=is_thing,
                    iscrowd=segment.is_crowd,
                    area=segment.area,
                )
            )
            if is_thing:
                instances.append(dict(bbox=[x, y, x + w, y + h], bbox_label=label, ignore_flag=0))
        folder = self.data_prefix.get('seg')
        return dict(
            img_id=image.id,
            img_path=osp.join(self.data_prefix['img'] or '', image.file_name),
            seg_map_path=osp.join(folder, image.map_name) if folder and image.map_name else None,
            height=image.size[0],
            width=image.size[1],
            segments_info=infos,
            instances=instances,
        )

    def check_content(self, content: Any) -> list[Finding]:
        """Report everything that is wrong with the content of the annotation file."""
        return check_panoptic_content(self, content)


@DATASETS.register_module()
class CheckedADE20KPanopticDataset(CheckedCocoPanopticDataset):
    """The same for the 150 classes of ADE20K, as named by mmdet and its converter."""

    METAINFO = ADE20KPanopticDataset.METAINFO


def reads_panoptic(dataset: Any) -> bool:
    """Tell whether a data set reads COCO's panoptic format, as mmdet's does or ours."""
    return isinstance(dataset, CocoPanopticDataset)


def check_panoptic_file(dataset: CocoPanopticDataset) -> list[Finding]:
    """Report everything that is wrong with the annotation file of a data set, mmdet's own or ours.

    Raises:
        DataError: There is no such file, or it is not JSON.
    """
    if isinstance(dataset, NamedFailures):
        return dataset.check_file()
    return check_panoptic_content(dataset, read_coco(dataset.ann_file, dataset.backend_args))


def check_panoptic_content(dataset: CocoPanopticDataset, content: Any) -> list[Finding]:
    """Report everything that is wrong with the content of the annotation file of a data set, mmdet's own or ours."""
    by_name = isinstance(dataset, CheckedCocoPanopticDataset)
    findings = check_panoptic(
        content, dataset.ann_file, dataset.metainfo, dataset.test_mode, by_name
    )
    if not (dataset.test_mode or dataset.data_prefix.get('seg')):
        problem = 'data_prefix of the training data names no maps.'
        findings.append(error(f'{problem} Add seg=..., the folder of the PNGs.'))
    return findings


def check_maps(dataset: CocoPanopticDataset, decode: bool) -> list[Finding]:
    """Report panoptic maps that do not fit their segments.

    Args:
        decode: Whether to read all of them; otherwise some.
    """
    indices = spread_evenly(len(dataset), len(dataset) if decode else MAPS)
    results = [_map_problem(dataset.get_data_info(index)) for index in indices]
    problems = [problem for problem in results if problem]
    if not problems:
        return []
    count = plural(len(problems), 'panoptic map')
    listed = first_few(problems, 3, '; ')
    return [error(f'{count} of {len(indices)} looked at: {listed}.')]


def _map_problem(info: dict) -> str | None:
    if not info.get('seg_map_path'):
        return None
    path, size = info['seg_map_path'], (info['height'], info['width'])
    infos = info['segments_info']
    segments = [Segment(part['id'], part['category'], False, None) for part in infos]
    try:
        counted = read_panoptic_map(path, segments, size).areas.astype(int).tolist()
    except DataError as reason:
        return str(reason)
    stated = [part.get('area') for part in infos]  # mmdet's data set does not have it
    pairs = zip(segments, stated, counted, strict=True)
    wrong = [
        f'id {segment.id} has {pixels} pixels and the area {area}'
        for segment, area, pixels in pairs
        if area is not None and area != pixels
    ]
    if not wrong:
        return None
    return f'{path}: area in segments_info is not the number of pixels, as PQ needs it: {first_few(wrong, 2)}'


CITYSCAPES_THINGS = CityscapesDataset.METAINFO
CITYSCAPES_STUFF = {
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
CITYSCAPES_META = dict(
    classes=(*CITYSCAPES_THINGS['classes'], *CITYSCAPES_STUFF),
    thing_classes=CITYSCAPES_THINGS['classes'],
    stuff_classes=tuple(CITYSCAPES_STUFF),
    palette=[*CITYSCAPES_THINGS['palette'], *CITYSCAPES_STUFF.values()],
)


@DATASETS.register_module()
class CityscapesPanopticDataset(CheckedCocoPanopticDataset):
    """The 19 classes of Cityscapes in COCO's panoptic format, as written by its ``createPanopticImgs.py``.

    That tool names the images after the files of labels; they lie in folders of their cities.
    """

    METAINFO = CITYSCAPES_META

    def describe(self, image: PanopticImage) -> dict:
        """Return an image in mmdet's form."""
        city = image.file_name.partition('_')[0]
        return super().describe(
            image._replace(file_name=f'{city}/{image.file_name.replace("_gtFine_", "_")}')
        )
