"""Fills the templates of a new config with the facts of a data set."""

import colorsys
import pprint
from collections.abc import Mapping
from typing import NamedTuple

from . import templates
from .folders import Split
from .label_maps import MapSplit
from .recipe import Recipe

PATIENCE = 8
"""Validations without improvement that end a training: most of the ten, since the last steps learn at a lower rate."""
HUE_STEP = 0.618034  # of the circle of hues: the golden ratio keeps neighbouring classes apart
METRICS = {'instance': 'coco/segm_mAP', 'panoptic': 'coco_panoptic/PQ', 'semantic': 'mIoU'}
DATASETS = {
    'instance': 'CheckedCocoDataset',
    'panoptic': 'CheckedCocoPanopticDataset',
    'semantic': 'BaseSegDataset',
}
LOAD_ANNOTATIONS = {
    'instance': "type='LoadAnnotations', with_bbox=True, with_mask=True",
    'panoptic': "type='LoadCocoPanopticAnnotations'",
}


class Facts(NamedTuple):
    """What a config is made of."""

    task: str  # instance, panoptic or semantic
    base: str  # the text of _base_
    checkpoint: str  # '' where training starts from the weights that the base config names
    data_root: str  # with a slash at the end
    summary: str
    things: tuple[str, ...]  # classes; all classes in semantic segmentation
    stuff: tuple[str, ...]
    splits: Mapping[str, Split | MapSplit]
    recipe: Recipe
    auxiliary: bool  # whether the base config has an auxiliary head


def write_text(facts: Facts) -> str:
    """Return the text of a config."""
    return ''.join(
        [_write_header(facts), _write_model(facts), _write_data(facts), _write_footer(facts)]
    )


def make_palette(count: int) -> list[tuple[int, int, int]]:
    """Return as many colours, red, green and blue from 0 to 255, that differ from their neighbours."""
    colours = []
    for index in range(count):
        red, green, blue = colorsys.hsv_to_rgb(index * HUE_STEP % 1, 0.85, 0.95)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colours


def _write_header(facts: Facts) -> str:
    load_from = f'load_from = {facts.checkpoint!r}\n' if facts.checkpoint else ''
    return templates.HEADER.format(
        summary=facts.summary,
        base=facts.base,
        load_from=load_from,
        data_root=facts.data_root,
        classes=_write_classes(facts),
        size_comment=_describe_size(facts.recipe),
        recipe=facts.recipe,
    )


def _write_classes(facts: Facts) -> str:
    """Return the lines of classes and palette."""
    names = facts.things + facts.stuff
    palette = _assign('palette', make_palette(len(names)))
    if facts.task == 'panoptic':
        lists = _assign('thing_classes', facts.things) + _assign('stuff_classes', facts.stuff)
        metainfo = (
            'metainfo = dict(\n'
            '    classes=thing_classes + stuff_classes,\n'
            '    thing_classes=thing_classes,\n'
            '    stuff_classes=stuff_classes,\n'
            '    palette=palette,\n'
            ')\n'
        )
        return lists + palette + metainfo
    metainfo = 'metainfo = dict(classes=classes, palette=palette)\nnum_classes = len(classes)\n'
    order = 'the labels in the maps' if facts.task == 'semantic' else 'the annotation file'
    return f'# In the order of {order}.\n{_assign("classes", names)}{palette}{metainfo}'


def _assign(name: str, value: object) -> str:
    """Return an assignment, with one item a line if it is long."""
    text = f'{name} = {value!r}'
    if len(text) > 98:
        text = f'{name} = {pprint.pformat(value, width=98 - len(name), sort_dicts=False)}'
    return f'{text}\n'


def _describe_size(recipe: Recipe) -> str:
    if not recipe.smallest_object:
        return 'Time and memory grow with the area.'
    return (
        f'At this size, nine of ten objects are at least {recipe.smallest_object} pixels wide; time and memory grow '
        'with the area.'
    )


def _write_model(facts: Facts) -> str:
    if facts.task == 'instance':
        return templates.INSTANCE_MODEL
    if facts.task == 'panoptic':
        return templates.PANOPTIC_MODEL
    return templates.SEMANTIC_MODEL.format(auxiliary=templates.AUXILIARY if facts.auxiliary else '')


def _write_data(facts: Facts) -> str:
    """Return pipelines, loaders and evaluators."""
    if facts.task == 'semantic':
        pipelines = templates.SEMANTIC_PIPELINES
    else:
        pipelines = templates.DETECTION_PIPELINES.format(
            load_annotations=LOAD_ANNOTATIONS[facts.task]
        )
    train = templates.TRAIN_LOADER.format(
        num_workers=facts.recipe.num_workers,
        dataset_type=DATASETS[facts.task],
        files=_write_files(facts.splits['train']),
    )
    parts = [pipelines, train, _write_test(facts, 'val')]
    if facts.splits.get('test', facts.splits['val']) == facts.splits['val']:
        evaluator = '' if facts.task == 'semantic' else templates.TEST_EVALUATOR_IS_VAL
        parts += [templates.TEST_IS_VAL, evaluator]
    else:
        parts.append(_write_test(facts, 'test'))
    return ''.join(parts)


def _write_test(facts: Facts, split: str) -> str:
    """Return the loader and the evaluator of validation or test."""
    data = facts.splits[split]
    loader = templates.TEST_LOADER.format(
        split=split, dataset_type=DATASETS[facts.task], files=_write_files(data)
    )
    if isinstance(data, MapSplit):
        return loader  # the evaluator of the base config needs no files
    evaluator = templates.INSTANCE_EVALUATOR
    if facts.task == 'panoptic':
        evaluator = templates.PANOPTIC_EVALUATOR
    return loader + evaluator.format(
        split=split, ann_file=data.ann_file, seg_prefix=data.seg_prefix
    )


def _write_files(split: Split | MapSplit) -> str:
    """Return the settings of the files of a data set."""
    if isinstance(split, MapSplit):
        lines = [
            f'data_prefix=dict(img_path={split.images!r}, seg_map_path={split.maps!r}),',
            f'img_suffix={split.img_suffix!r},',
            f'seg_map_suffix={split.map_suffix!r},',
        ]
    else:
        seg = f', seg={split.seg_prefix!r}' if split.seg_prefix else ''
        lines = [
            f'ann_file={split.ann_file!r},',
            f'data_prefix=dict(img={split.img_prefix!r}{seg}),',
        ]
    return '\n'.join(' ' * 8 + line for line in lines)


def _write_footer(facts: Facts) -> str:
    return templates.FOOTER.format(
        recipe=facts.recipe, metric=METRICS[facts.task], patience=PATIENCE
    )
