"""Loops and samplers of a config that do not fit each other."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.registry import DATA_SAMPLERS, Registry

INFINITE_SAMPLERS = {'InfiniteSampler', 'MultiSourceSampler'}
"""Samplers that start over instead of ending, and their children."""


def find_class(config: Mapping, root: Registry, scope: str | None) -> Any:
    """Return the class that a config names in the registry of its framework, or None if it is not registered."""
    kind = config.get('type')
    if not isinstance(kind, str):
        return kind
    with root.switch_scope_and_registry(scope) as registry:
        return registry.get(kind)


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
