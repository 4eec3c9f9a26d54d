"""Parts of a data loader that cannot be built, or that make its results wrong, whatever the data."""

import copy
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from mmengine.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS, Registry

from ...messages import first_few
from .loops import find_class

MOVING = {
    *('RandomFlip', 'RandomCrop', 'RandomAffine', 'RandomShift', 'RandomRotate', 'RandomRotFlip'),
    *('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'RandomCenterCropPad', 'Expand'),
    *('MinIoURandomCrop', 'Mosaic', 'MixUp', 'CachedMosaic', 'CachedMixUp', 'CopyPaste'),
}
"""Transforms after which the annotations of an image no longer fit its results."""
NEEDED = {'ori_shape', 'img_shape'}
"""What a model has to know of an image to resize its results."""
FILTERS = {'filter_empty_gt', 'min_size'}
"""Settings of filter_cfg that mmdet's CocoDataset reads."""
COCO_DATASETS = {'CocoDataset', 'CheckedCocoDataset'}


def type_problems(
    place: str, settings: Mapping, root: Registry, scope: str | None
) -> Iterator[str]:
    """Yield the type of a part of a config that is not registered, with names that are similar."""
    name = settings.get('type')
    if find_class(settings, root, scope) is not None:
        return
    with root.switch_scope_and_registry(scope) as registry:
        similar = get_close_matches(str(name), [*registry.module_dict, *root.module_dict])
    remedy = (
        f'Did you mean {first_few(dict.fromkeys(similar))}?' if similar else 'Correct the name.'
    )
    yield f'{place}.type is {name!r}, which is not registered. {remedy}'


def sampler_problems(loader: Mapping, scope: str | None) -> Iterator[str]:
    """Yield samplers that are not registered."""
    for place in ('sampler', 'batch_sampler'):
        settings = loader.get(place)
        if isinstance(settings, Mapping):
            yield from type_problems(place, settings, DATA_SAMPLERS, scope)


def dataset_problems(dataset: Mapping, scope: str | None) -> Iterator[str]:
    """Yield what is wrong with the type, the classes, the filter and the transforms of a data set."""
    yield from type_problems('dataset', dataset, DATASETS, scope)
    classes = (dataset.get('metainfo') or {}).get('classes', ())
    if isinstance(classes, (set, frozenset)):
        yield f'metainfo.classes is a set, whose order can change: {classes!r}. Write a tuple.'
    elif not isinstance(classes, str) and not all(isinstance(name, str) for name in classes):
        listed = first_few(map(repr, classes), 3)
        yield f"metainfo.classes has entries that are no names: {listed}. Write classes=('a', 'b', ...)."
    filters = dataset.get('filter_cfg') or {}
    unknown = [name for name in filters if name not in FILTERS]
    if unknown and dataset.get('type') in COCO_DATASETS:
        yield (
            f'filter_cfg has the key {first_few(unknown)}, which {dataset["type"]} does not read. '
            f'Write {" or ".join(sorted(FILTERS))}.'
        )
    for transform in dataset.get('pipeline') or ():
        if isinstance(transform, Mapping):
            yield from _build_problems(transform, scope)


def _build_problems(transform: Mapping, scope: str | None) -> Iterator[str]:
    """Yield why a transform cannot be built."""
    unregistered = list(type_problems('pipeline', transform, TRANSFORMS, scope))
    if unregistered:
        yield from unregistered
        return
    try:
        with TRANSFORMS.switch_scope_and_registry(scope) as registry:
            registry.build(copy.deepcopy(transform))  # some replace the transforms inside them
    except Exception as reason:  # a transform of any kind may fail in any way
        options = ', '.join(f'{name}={value!r}' for name, value in transform.items())
        yield f'a transform of the pipeline cannot be built: {options} ({type(reason).__name__}: {reason}).'


def pipeline_problems(loader: str, dataset: Mapping, config: Mapping) -> Iterator[str]:
    """Yield transforms that make results wrong in silence.

    Args:
        loader: The name of the data loader.
        config: The whole config, with the model.
    """
    preprocessor = (config.get('model') or {}).get('data_preprocessor') or {}
    for transform in dataset.get('pipeline') or ():
        if not isinstance(transform, Mapping):
            continue
        name = str(transform.get('type')).rpartition('.')[2]
        keys = transform.get('meta_keys', NEEDED)
        if name.startswith('Pack') and 'train' not in loader and not set(keys) >= NEEDED:
            yield f'{name} of the pipeline needs {first_few(sorted(NEEDED - set(keys)))} among its meta_keys.'
        if name == 'Normalize' and preprocessor.get('mean') is not None:
            yield 'Normalize of the pipeline and data_preprocessor of the model both normalise. Remove Normalize.'
        if name in MOVING and 'train' not in loader and transform.get('prob') != 0:
            yield (
                f'{name} of the pipeline moves or removes objects, but results are compared with the annotations of '
                'the image as it is. Remove it from validation and testing.'
            )
