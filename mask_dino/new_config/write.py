"""Reads a data folder and a checkpoint, and writes the config."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from ..checkpoints.select_config import read_configs
from ..compat import find_root
from ..datasets.checks.images import header_size
from ..messages import DataError, plural, spread_evenly
from .base import choose_base, find_task, name_base, read_checkpoint_config
from .folders import Split, find_classes, find_splits
from .label_maps import MapSplit, find_map_splits, read_class_names
from .recipe import Measures, choose_recipe, find_embed_dims, measure_coco, measure_sizes
from .text import Facts, write_text

MEASURED_IMAGES = 200
HEADS = ('panoptic_head', 'decode_head')


class Request(NamedTuple):
    """What the user asks for."""

    data: Path
    task: str  # instance, panoptic or semantic
    checkpoint: Path | None
    base: Path | None  # None chooses the config of the checkpoint's network
    out: Path
    classes: tuple[str, ...]  # names for the labels of label maps; () reads them


class NewConfig(NamedTuple):
    """A new config, and what to tell about it."""

    text: str
    base: Path
    notes: tuple[str, ...]


class Data(NamedTuple):
    """What was found in the data folder."""

    splits: Mapping[str, Split | MapSplit]
    things: tuple[str, ...]
    stuff: tuple[str, ...]
    measures: Measures
    notes: tuple[str, ...]


def make_config(request: Request) -> NewConfig:
    """Return the config for a data set.

    Raises:
        DataError: The data cannot be used, or no config fits; the message names the remedy.
        CheckpointError: The checkpoint cannot be used.
    """
    data = _read_maps(request) if request.task == 'semantic' else _read_coco(request)
    base = _find_base(request)
    config = Config.fromfile(base, import_custom_modules=False)
    if find_task(config) != request.task:
        raise DataError(
            f'{base} is a config for {find_task(config)} segmentation, not for {request.task} segmentation; '
            'choose another with --base'
        )
    facts = Facts(
        task=request.task,
        base=name_base(base, request.out),
        checkpoint=str(request.checkpoint or ''),
        data_root=f'{request.data.as_posix()}/',
        summary=_summarise(request, data),
        things=data.things,
        stuff=data.stuff,
        splits=data.splits,
        recipe=choose_recipe(
            data.measures,
            find_embed_dims(config, HEADS),
            config.optim_wrapper.optimizer.lr,
            config.auto_scale_lr.base_batch_size,
        ),
        auxiliary='auxiliary_head' in config.model,
    )
    return NewConfig(write_text(facts), base, data.notes)


def _find_base(request: Request) -> Path:
    """Return the config to inherit from."""
    if request.base is not None:
        return request.base
    if request.checkpoint is None:
        raise DataError('give a checkpoint to start from with --from, or a config with --base')
    configs = read_configs(find_root() / 'configs' / 'maskdino')
    return choose_base(read_checkpoint_config(request.checkpoint), request.task, configs)


def _read_coco(request: Request) -> Data:
    """Read a folder in COCO format."""
    splits = find_splits(request.data, request.task == 'panoptic')
    classes = find_classes(splits)
    if request.task == 'panoptic' and not (classes.things and classes.stuff):
        raise DataError(
            f'{splits["train"].ann_file}: a panoptic file needs categories with isthing 1 and with isthing 0; for '
            'things only, use --task instance'
        )
    notes = _describe_parts(splits, {name: len(s.content['images']) for name, s in splits.items()})
    if classes.left_out:
        notes.append(f'left out: {", ".join(classes.left_out)}, a placeholder that no object has')
    measures = measure_coco(splits['train'].content)
    if not measures.num_objects:
        raise DataError(f'{splits["train"].ann_file} has no object with an area; annotate some')
    return Data(splits, classes.things, classes.stuff, measures, tuple(notes))


def _read_maps(request: Request) -> Data:
    """Read a folder with images and label maps."""
    splits = find_map_splits(request.data)
    names = read_class_names(request.data, list(splits.values()), request.classes)
    notes = _describe_parts(splits, {name: len(split.stems) for name, split in splits.items()})
    if names[0] == 'class_0' and not request.classes:
        notes.append(
            'the classes have no names: edit "classes" in the config, or write them into classes.txt, one a line'
        )
    train = splits['train']
    return Data(splits, names, (), measure_sizes(_read_sizes(request.data, train)), tuple(notes))


def _read_sizes(folder: Path, split: MapSplit) -> np.ndarray:
    """Return the widths and heights (N, 2) of up to 200 training images, repeated to their number."""
    sizes = []
    for index in spread_evenly(len(split.stems), MEASURED_IMAGES):
        path = folder / split.images / (split.stems[index] + split.img_suffix)
        size = header_size(str(path))
        if size is None:
            raise DataError(f'{path} is no image; copy it again, or remove it and its label map')
        sizes.append(size)
    return np.resize(np.array(sizes, float), (len(split.stems), 2))


def _describe_parts(splits: Mapping[str, object], counts: Mapping[str, int]) -> list[str]:
    notes = [', '.join(f'{name}: {plural(count, "image")}' for name, count in counts.items())]
    if splits.get('test') == splits['val']:
        notes.append('there is no validation part: the test part is used for validation')
    return notes


def _summarise(request: Request, data: Data) -> str:
    """Return the first line of the config."""
    num_classes = len(data.things) + len(data.stuff)
    noun = 'class' if num_classes == 1 else 'classes'
    measures = data.measures
    task = f'{request.data}: {request.task} segmentation, {num_classes} {noun}'
    images = plural(measures.num_images, 'training image')
    if not measures.num_objects:
        return f'{task}, {images}'
    objects = plural(measures.num_objects, 'object')
    return f'{task}, {images}, {objects}'
