"""Data loaders and loops of a config that cannot be built or run, or that make results wrong, whatever the data."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any

from mmengine.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS, Registry

from ...messages import first_few

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
INFINITE_SAMPLERS = {'InfiniteSampler', 'MultiSourceSampler'}
"""Samplers that start over instead of ending, and their children."""


def find_class(config: Mapping, root: Registry, scope: str | None) -> Any:
    """Return the class that a config names in the registry of its framework, or None if it is not registered."""
    kind = config.get('type')
    if not isinstance(kind, str):
        return kind
    with root.switch_scope_and_registry(scope) as registry:
        return registry.get(kind)


def accepted_arguments(kind: Any) -> set[str] | None:
    """Return the names of the arguments of a class and its parents; None if it takes any."""
    names: set[str] = set()
    for parent in getattr(kind, '__mro__', ()):
        if '__init__' not in vars(parent) or parent is object:
            continue
        parameters = signature(parent.__init__).parameters.values()
        names |= {parameter.name for parameter in parameters}
        takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
        if not takes_all:
            return names
    return None


def default_argument(kind: Any, name: str) -> Any:
    """Return the default of an argument of a class or its parents; None if none of them has it."""
    for parent in getattr(kind, '__mro__', ()):
        parameters = signature(parent.__init__).parameters
        if name in parameters:
            return parameters[name].default
    return None


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


def loop_problems(config: Mapping, loaders: Iterable[str]) -> list[str]:
    """Say which loops and samplers of a config do not fit each other.

    An epoch, a validation and a test end only when their sampler ends. A loop of iterations starts its
    sampler again, so every sampler fits. But it has no epochs, after which a scheduler could change the learning rate.
    """
    problems = []
    for loader in loaders:
        is_endless = is_infinite(config[loader].get('sampler'), config.get('default_scope'))
        needs_end = 'train' not in loader or _by_epoch(config)
        if is_endless and needs_end:
            loop = 'an epoch of training' if 'train' in loader else 'the evaluation'
            problem = f'{loader}: its sampler never ends, and {loop} would not end either'
            remedy = "Write sampler=dict(type='DefaultSampler', ...)"
            remedy += (
                ', or train with IterBasedTrainLoop'
                if 'train' in loader
                else ', with shuffle=False'
            )
            problems.append(f'{problem}. {remedy}.')
        if 'train' not in loader and config[loader].get('drop_last'):
            problems.append(
                f'{loader}: drop_last leaves out the images of the last batch, and their objects count as missed. '
                'Write drop_last=False.'
            )
    if 'train_dataloader' in loaders and isinstance(config.get('train_cfg'), Mapping):
        problems += _schedule_problems(config)
    return problems


def _schedule_problems(config: Mapping) -> Iterator[str]:
    """Yield what does not fit between train_cfg and param_scheduler."""
    loop = config['train_cfg']
    by_epoch = _by_epoch(config)
    name = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
    needless = 'max_iters' if by_epoch else 'max_epochs'
    if needless in loop:
        remedy = 'Remove it, or add _delete_=True to the other settings.'
        yield f'train_cfg: {name} does not take {needless}. {remedy}'
    schedulers = config.get('param_scheduler') or []
    listed = [schedulers] if isinstance(schedulers, Mapping) else schedulers
    for scheduler in () if by_epoch else listed:
        kind = scheduler.get('type')
        waits = scheduler.get('by_epoch', True) and not scheduler.get('convert_to_iter_based')
        if waits and 'ReduceOnPlateau' not in str(kind):
            yield (
                f'param_scheduler: {kind} waits for the end of an epoch, which {name} does not have: the learning rate '
                'would never change. Write by_epoch=False, and begin, end and milestones in iterations.'
            )


def _by_epoch(config: Mapping) -> bool:
    """Tell whether a config trains by epochs."""
    loop = config.get('train_cfg') or {}
    name = str(getattr(loop.get('type'), '__name__', loop.get('type', '')))
    return name == 'EpochBasedTrainLoop' or loop.get('by_epoch') is True


def is_infinite(sampler: Any, scope: str | None) -> bool:
    """Tell whether a sampler, given by its config, never ends."""
    kind = type(sampler)
    if isinstance(sampler, Mapping):
        kind = find_class(sampler, DATA_SAMPLERS, scope)
    names = {parent.__name__ for parent in getattr(kind, '__mro__', ())}
    return bool(INFINITE_SAMPLERS & names)
