"""Settings of a config with which no training can work: its length, the optimiser and the schedules."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from mmengine.dist import get_world_size
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS

from ...messages import Finding, error, plural, warning
from .components import is_infinite, type_problems

COUNTS = (
    'train_cfg.max_iters',
    'train_cfg.max_epochs',
    'train_cfg.val_interval',
    'optim_wrapper.accumulative_counts',
    'default_hooks.logger.interval',
)
"""Settings that are whole numbers, 1 or more."""
MAX_RATE = 1e6
"""With a larger learning rate or weight decay, weights are infinite after a few steps."""
RATES = ('lr', 'weight_decay', 'momentum', 'eps')
CLIP_LIMITS = ('max_norm', 'clip_value')
CLIP_OPTIONS = {*CLIP_LIMITS, 'type', 'norm_type', 'error_if_nonfinite', 'foreach'}
SCHEDULE_FACTORS = ('start_factor', 'end_factor', 'gamma', 'factor', 'eta_min', 'power')


def check_training(config: Mapping) -> list[Finding]:
    """Report the settings with which no training can work; torch and mmengine name others when they are built."""
    problems = [*_count_problems(config)]
    findings: list[Finding] = []
    wrapper = config.get('optim_wrapper')
    if isinstance(wrapper, Mapping):
        problems += _optimizer_problems(wrapper, config.get('default_scope'))
        problems += _clipping_problems(wrapper.get('clip_grad'))
        problems += _multiplier_problems('optim_wrapper.paramwise_cfg', wrapper)
        if look_up(wrapper, 'optimizer.lr') == 0:
            findings.append(warning('optim_wrapper.optimizer.lr is 0: the model learns nothing.'))
    problems += _schedule_problems(config)
    return findings + [error(problem) for problem in problems]


def check_batches(config: Mapping, dataset: Any) -> list[Finding]:
    """Report training data that are too few for a single batch, so that a training would have no step."""
    loader = config.get('train_dataloader') or {}
    is_endless = is_infinite(loader.get('sampler'), config.get('default_scope'))
    if not loader.get('drop_last') or is_endless:
        return []
    batch_size = loader.get('batch_size', 1)
    per_process = math.ceil(len(dataset) / get_world_size())
    if per_process >= batch_size:
        return []
    return [
        error(
            f'train_dataloader: each process has {plural(per_process, "image")}, which make no batch of {batch_size}, '
            'and drop_last leaves out smaller batches. Write drop_last=False, or a smaller batch_size.'
        )
    ]


def look_up(config: Mapping, place: str) -> Any:
    """Return a setting by its dotted name, or None if it is absent."""
    section, *names = place.split('.')
    value = config.get(section)
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell whether a setting is a number; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count_problems(config: Mapping) -> Iterator[str]:
    for place in COUNTS:
        value = look_up(config, place)
        is_count = is_number(value) and isinstance(value, int) and value >= 1
        if value is not None and not is_count:
            yield f'{place} is {value!r}. Write a whole number, 1 or more.'
    seed = look_up(config, 'randomness.seed')
    is_seed = is_number(seed) and isinstance(seed, int) and 0 <= seed < 2**32
    if seed is not None and not is_seed:
        yield f'randomness.seed is {seed!r}. Write a whole number from 0 to 4294967295, or None.'


def _optimizer_problems(wrapper: Mapping, scope: str | None) -> Iterator[str]:
    """Yield what is wrong with the optimiser."""
    optimizer = wrapper.get('optimizer')
    if not isinstance(optimizer, Mapping):
        return
    yield from type_problems('optim_wrapper.optimizer', optimizer, OPTIMIZERS, scope)
    for name in filter(optimizer.__contains__, RATES):
        value = optimizer[name]
        if not is_number(value) or not 0 <= value <= MAX_RATE:
            remedy = (
                f'Write a number from 0 to {MAX_RATE:,.0f}; learning rates are usually below 0.01.'
            )
            yield f'optim_wrapper.optimizer.{name} is {value!r}. {remedy}'


def _clipping_problems(clipping: Any) -> Iterator[str]:
    if clipping is None:
        return
    if not isinstance(clipping, Mapping) or not clipping.keys() <= CLIP_OPTIONS:
        yield f'optim_wrapper.clip_grad is {clipping!r}. Write dict(max_norm=NUMBER), or None.'
        return
    for name in filter(clipping.__contains__, CLIP_LIMITS):
        value = clipping[name]
        if not is_number(value) or not value > 0:
            yield f'optim_wrapper.clip_grad.{name} is {value!r}. Write a number above 0.'


def _multiplier_problems(place: str, wrapper: Mapping) -> Iterator[str]:
    """Yield the multipliers of groups of parameters, such as ``lr_mult``, that are no numbers of 0 or more."""
    settings = wrapper.get('paramwise_cfg')
    if not isinstance(settings, Mapping):
        return
    groups = {place: settings}
    for key, group in (settings.get('custom_keys') or {}).items():
        groups[f'{place}.custom_keys[{key!r}]'] = group
    for name, group in groups.items():
        multipliers = [key for key in group if str(key).endswith('_mult')]
        yield from _factor_problems(name, group, multipliers)


def _schedule_problems(config: Mapping) -> Iterator[str]:
    schedulers = config.get('param_scheduler') or []
    listed = [schedulers] if isinstance(schedulers, Mapping) else schedulers
    for index, scheduler in enumerate(listed):
        if not isinstance(scheduler, Mapping):
            continue
        place = f'param_scheduler[{index}]'
        scope = config.get('default_scope')
        yield from type_problems(place, scheduler, PARAM_SCHEDULERS, scope)
        yield from _factor_problems(place, scheduler, SCHEDULE_FACTORS)
        if scheduler.get('start_factor') == 0:
            yield f'{place}.start_factor is 0. Write a number above 0, such as 0.001.'


def _factor_problems(place: str, settings: Mapping, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value = settings.get(name)
        is_factor = is_number(value) and math.isfinite(value) and value >= 0
        if value is not None and not is_factor:
            yield f'{place}.{name} is {value!r}. Write a number, 0 or more.'
